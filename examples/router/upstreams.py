"""What the router itself knows about the nodes: what it has with each, and which it had better leave alone for now."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from clusterd import Node, Topology
from clusterd.aio import Backoff

log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.5
_LEAST_PAUSE = 0.1
_LONGEST_PAUSE = 15.0
_TRIAL = 2.0


class Leash:
    """Lets a body wait for a node until somebody pulls: it ends with `TimeoutError`, and `code` and `why` say why.

    It holds one body after the other: the wait for an answer, and then the WebSocket that this was.
    """

    def __init__(self) -> None:
        self.code = 0
        self.why = ""
        self.websocket = False
        self._at: float | None = None
        self._scope: asyncio.Timeout | None = None

    def pull(self, after: float, code: int, why: str) -> None:
        """End the body in so many seconds, unless an earlier pull does."""
        at = asyncio.get_running_loop().time() + after
        if self._at is not None and self._at <= at:
            return
        self._at, self.code, self.why = at, code, why
        if self._scope is not None:
            self._scope.reschedule(at)

    async def __aenter__(self) -> Self:
        self._scope = asyncio.timeout_at(self._at)
        await self._scope.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope, self._scope = self._scope, None
        if scope is not None:
            await scope.__aexit__(kind, error, trace)  # raises TimeoutError where it was pulled


class Upstream:
    """One instance of a node. After a failure it is passed over for a while, longer each time, up to 15 seconds."""

    def __init__(self, node: Node, clock: Callable[[], float] = time.monotonic) -> None:
        self.node = node
        self.active = 0
        self.requests = 0
        self.leashes: set[Leash] = set()
        self._clock = clock
        self._backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._shunned_until: float | None = None
        self._on_trial = False

    @property
    def healthy(self) -> bool:
        """Whether to pick it: it hasn't failed, or its pause is over."""
        return self._shunned_until is None or self._clock() >= self._shunned_until

    @contextlib.contextmanager
    def session(self) -> Iterator[Leash]:
        """Count one request or WebSocket with the node for as long as the body runs."""
        if self._shunned_until is not None:  # this is the one that tries it again; others wait for how it goes
            self._shunned_until = self._clock() + _TRIAL
            self._on_trial = True
        leash = Leash()
        self.active += 1
        self.requests += 1
        self.leashes.add(leash)
        try:
            yield leash
        finally:
            self.active -= 1
            self.leashes.discard(leash)

    def failed(self, why: str) -> None:
        """Pass it over for a while. What was under way with it when it failed adds nothing."""
        if self._shunned_until is None:
            log.warning("%s at %s failed: %s; passed over for now", self.node.id, self.node.address, why)
        elif not self._on_trial:
            return
        self._on_trial = False
        self._shunned_until = self._clock() + max(self._backoff.next(), _LEAST_PAUSE)

    def succeeded(self) -> None:
        """Take it as sound again."""
        if self._shunned_until is not None:
            log.info("%s at %s answers again", self.node.id, self.node.address)
            self._shunned_until = None
            self._on_trial = False
            self._backoff.reset()


class Upstreams:
    """The nodes that the router has dealings with, by id. A node that was restarted begins with a clean slate."""

    def __init__(self, gone: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._gone = gone
        self._clock = clock
        self._known: dict[str, Upstream] = {}

    def of(self, node: Node) -> Upstream:
        """Return what is known about a node."""
        known = self._known.get(node.id)
        if known is None or (known.node is not node and not _same(known.node, node)):
            if known is not None:
                self._leave(known)
            known = self._known[node.id] = Upstream(node, self._clock)
        return known

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self._known.values())

    def active(self, node_id: str) -> int:
        """Return the requests and WebSockets that a node has from here."""
        known = self._known.get(node_id)
        return known.active if known else 0

    def follow(self, topology: Topology) -> None:
        """Forget the nodes that are gone: what waits for their answer gets a little time, and is then let go."""
        for node_id, known in tuple(self._known.items()):
            now = topology.nodes.get(node_id)
            if now is None or not _same(known.node, now):
                del self._known[node_id]
                self._leave(known)

    def close(self, over: float, code: int, why: str) -> None:
        """Ask all WebSockets to end, spread at random over so many seconds."""
        for known in self:
            for leash in known.leashes:
                if leash.websocket:
                    leash.pull(random.uniform(0, over), code, why)  # noqa: S311 - spreads load

    def _leave(self, known: Upstream) -> None:
        for leash in known.leashes:
            leash.pull(self._gone, 1012, "the node has left the fleet")


def _same(one: Node, other: Node) -> bool:
    return one.instance == other.instance and one.address == other.address
