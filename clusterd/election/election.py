"""An election: who may do the work that must be done once."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from clusterd.election.ballot import Candidate, Office
from clusterd.election.contest import DEFAULT_SETTLE, Contest, OnLost
from clusterd.election.gate import Gate
from clusterd.election.observing import observe, read_holder
from clusterd.election.tally import Tally
from clusterd.election.term import Term
from clusterd.errors import Deposed
from clusterd.etcd.client import Client
from clusterd.etcd.lease import DEFAULT_TTL
from clusterd.keys import Keyspace


class Election:
    """A named election: one of its candidates is the leader, for a term.

    In etcd it is what etcd's own recipe makes of it, so that `etcdctl elect` and Go's `concurrency.Election` take part.
    Each `lead()` is a candidacy of its own, with a lease of its own.

    Arguments:
        client: A client that is entered.
        keyspace: The keys of the fleet.
        name: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
        value: The proposal: what observers see of the leader.
        ttl: Seconds after which the office passes on from a leader that went silent.
        settle: Seconds that a winner lets pass where its predecessor went without resigning: one that was deposed by
            somebody's hand (its key deleted, its lease revoked) hears of that first. From `ttl` seconds on no two
            terms overlap even where it can't hear; the fence holds in any case.
        gate: Who may shut this process out of the office for a while.
        tally: Who counts the terms.

    Raises `InvalidOfficeName`.
    """

    def __init__(
        self,
        client: Client,
        keyspace: Keyspace,
        name: str,
        *,
        value: str | bytes = b"",
        ttl: int = DEFAULT_TTL,
        settle: float = DEFAULT_SETTLE,
        gate: Gate | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.name = name
        self._client = client
        self._office = Office.of_election(keyspace, name)
        proposal = value.encode() if isinstance(value, str) else value
        self._contest = Contest(
            client, self._office, proposal, ttl=ttl, settle=settle, gate=gate or Gate(), tally=tally
        )
        self._term: Term | None = None

    @property
    def term(self) -> Term | None:
        """The term that is held through this object; None while there is none."""
        return self._term if self._term and not self._term.lost.is_set() else None

    @contextlib.asynccontextmanager
    async def lead(self, *, on_lost: OnLost = "cancel") -> AsyncIterator[Term]:
        """Wait until elected, however long, and lead for the time of the body; then the office passes on.

        The moment leadership isn't certain any more, the body is cancelled and `Deposed` raised in its place. With
        `on_lost="tell"` it goes on, and has `term.lost` to look at; the office passes on when the body ends, or the
        lease lapses. Waiting goes on while etcd is away; what etcd refuses (login, permission) is raised.
        """
        async with self._contest.term(self.name, on_lost) as term:
            self._term = term
            try:
                yield term
            finally:
                if self._term is term:
                    self._term = None

    async def resign(self) -> None:
        """Give up the term that is held through this object, if one is: see `Term.resign`."""
        if self._term is not None:
            await self._term.resign()

    async def proclaim(self, value: str | bytes) -> None:
        """Change the proposal of the term held through this object. Raises `Deposed` if none is, or `EtcdError`."""
        if self._term is None:
            raise Deposed(f"{self._office} is not held here: only its leader can proclaim")
        await self._term.proclaim(value)

    async def leader(self) -> Candidate | None:
        """Ask etcd who leads at this moment; None if nobody does. Raises `EtcdError`."""
        return (await read_holder(self._client, self._office))[0]

    def observe(self) -> AsyncIterator[Candidate | None]:
        """Iterate over the leaders: first the present one, then each change of leader or proposal.

        None stands for a vacant office. It goes on through whatever happens to etcd; leaders that came and went
        unseen meanwhile are left out. Raises what etcd refuses, as permission.
        """
        return observe(self._client, self._office)
