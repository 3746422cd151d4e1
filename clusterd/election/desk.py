"""A node's part in elections and locks: what the agent hands out, and takes back when it must."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from clusterd.election.ballot import Office
from clusterd.election.contest import DEFAULT_SETTLE, Contest, OnLost
from clusterd.election.election import Election
from clusterd.election.gate import Gate
from clusterd.election.tally import Tally
from clusterd.election.term import Term
from clusterd.errors import AgentStopped, Deposed
from clusterd.etcd.client import Client
from clusterd.etcd.lease import check_ttl
from clusterd.keys import Keyspace
from clusterd.node import Node, NodeState

log = logging.getLogger(__name__)
T = TypeVar("T")

_LEAVE_SECONDS = 3.0


class ElectionDesk:
    """Makes the elections and locks of one node.

    Elections are for an active node: while it is in any other state, it resigns and stands back. Locks aren't asked
    about its state. Both end with the agent. `tally` is that of the elections.
    """

    def __init__(self, client: Client, keyspace: Keyspace, node: Node, *, ttl: int) -> None:
        self._client = client
        self._keyspace = keyspace
        self._id = node.id
        self._ttl = ttl
        self._elections = Gate()
        self._locks = Gate()
        self.tally = Tally()
        self.follow(node)

    def follow(self, node: Node) -> None:
        """Take note of the state that the node is in."""
        if node.state is NodeState.ACTIVE:
            self._elections.open()
        else:
            self._elections.shut(f"node {node.id} is {node.state}")

    @property
    def standing(self) -> bool:
        """Whether the node holds, or stands for, an office of an election."""
        return not self._elections.empty

    def election(
        self, name: str, *, value: str | bytes | None = None, ttl: int | None = None, settle: float = DEFAULT_SETTLE
    ) -> Election:
        """Return the election of that name. Raises `InvalidOfficeName`, `UsageError`."""
        return Election(
            self._client,
            self._keyspace,
            name,
            value=self._id if value is None else value,
            ttl=self._ttl if ttl is None else check_ttl(ttl),
            settle=settle,
            gate=self._elections,
            tally=self.tally,
        )

    def lock(
        self, name: str, *, on_lost: OnLost = "cancel", ttl: int | None = None, settle: float = DEFAULT_SETTLE
    ) -> contextlib.AbstractAsyncContextManager[Term]:
        """Return the context in which a lock is held. Raises `InvalidOfficeName`, `UsageError`."""
        contest = Contest(
            self._client,
            Office.of_lock(self._keyspace, name),
            self._id.encode(),
            ttl=self._ttl if ttl is None else check_ttl(ttl),
            settle=settle,
            gate=self._locks,
        )
        return contest.term(name, on_lost)

    async def close(self) -> None:
        """End all terms and all waiting, and wait a moment until what was held is given up."""
        stopped = AgentStopped("the agent has stopped: it stands for nothing any more")
        for gate in (self._elections, self._locks):
            gate.close(stopped)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._elections.emptied()
                await self._locks.emptied()


async def run_on_leader(election: Election, run: Callable[[Term], Awaitable[T]]) -> T:
    """Run `run(term)` while leader, again whenever elected again, until it returns; its result is returned.

    It is cancelled the moment leadership isn't certain any more; another candidate's run may begin after that. What it
    raises is raised, and the office passes on.
    """
    while True:
        try:
            async with election.lead() as term:
                return await run(term)
        except Deposed as error:
            log.warning("%s; standing again", error)
