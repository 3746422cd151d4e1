"""The gateway beside the daemon, as far as it is known: how many sessions it has, and whom to tell to close some."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from clusterd.agent import Agent
from clusterd.drain import Drain
from clusterd.sidecar.http.documents import EvictionDocument

FORGET_SECONDS = 15
"""For how long the last count stands in a drain when no more comes; then nobody knows how many there are."""

_LOOK_AGAIN = 0.2
_ASK_AGAIN = 1.0
_SILENT = f"the gateway has not said for {FORGET_SECONDS} s how many there are, and listens to nothing"


log = logging.getLogger(__name__)


class Mover(Protocol):
    """A way to have the gateway close sessions."""

    async def evict(self, eviction: EvictionDocument) -> None:
        """Have sessions closed. May take its time: then it sets the pace. Raises where nobody can be told."""

    def over(self) -> None:
        """Take note that no more sessions are to be closed: the drain was taken back, or may not go on."""


class Gateway:
    """Counts the gateway's sessions by its own word, and tells it which to close while the node drains.

    While nothing is attached, and nothing was ever reported, there are no sessions. From then on there are as many as
    it last said, and nobody knows how many before it says so, or when it has gone silent in a drain.
    """

    def __init__(self, agent: Agent) -> None:
        self.silent = asyncio.Event()
        self._silence = 0
        self._agent = agent
        self._movers: list[Mover] = []
        self._reported = False
        agent.sessions.set(0)

    @property
    def attached(self) -> int:
        """How many ways there are to have sessions closed."""
        return len(self._movers)

    def report(self, sessions: int) -> None:
        """Take over how many sessions there are. Raises `UsageError` for what is no count."""
        self._agent.sessions.set(sessions)
        self._reported = True
        self._heard()

    async def run(self) -> None:
        """Notice, for ever, when the gateway goes silent: there is a drain, nothing listens, and no count comes.

        Seconds are counted one by one: those in which this process stood still are not the gateway's.
        """
        while True:
            await asyncio.sleep(1)
            if self._movers or not self.draining:
                self._heard()
                continue
            self._silence += 1
            if self._silence >= FORGET_SECONDS and self._agent.sessions.count != 0 and not self.silent.is_set():
                log.warning("%s; the last count was %s", _SILENT, self._agent.sessions.count)
                self.silent.set()
                self.forget(_SILENT)

    def _heard(self) -> None:
        self._silence = 0
        self.silent.clear()

    @property
    def draining(self) -> bool:
        """Whether sessions are being moved, or are about to be."""
        return self._agent.draining is not None

    def forget(self, trouble: str = "") -> None:
        """Take note that nobody knows how many there are; `trouble` says why."""
        self._agent.sessions.forget(trouble)

    @contextlib.contextmanager
    def attach(self, mover: Mover) -> Iterator[None]:
        """Have sessions closed by `mover` for the time of the body; where there are several, they take turns."""
        if not self._reported:
            self.forget()
        self._movers.append(mover)
        self._agent.on_drain(self._evacuate)
        try:
            yield
        finally:
            self._movers.remove(mover)
            if not self._movers:
                self._agent.off_drain(self._evacuate)

    async def _evacuate(self, drain: Drain) -> None:
        """Have all sessions closed at the pace of the drain, for as long as somebody can be told."""
        tokens = Tokens(lambda: self._agent.sessions.count)
        try:
            while self._movers and not drain.cancelled.is_set():
                with contextlib.suppress(Uncounted):
                    await self._pass_on(drain, tokens)
                    break
                await self._ask_for_all(drain)
        except asyncio.CancelledError:
            self._tell_over()
            raise
        if drain.cancelled.is_set():
            self._tell_over()

    async def _pass_on(self, drain: Drain, tokens: Tokens) -> None:
        async for batch in drain.batches(tokens):
            if not self._movers:
                return
            await self._tell(_eviction(drain, len(batch)))

    async def _ask_for_all(self, drain: Drain) -> None:
        """Nobody counts: wait until somebody does, or until all are to go."""
        if drain.forced.is_set():
            await self._tell(_eviction(drain, None))
            await drain.pause(_ASK_AGAIN)
        else:
            await drain.pause(_LOOK_AGAIN)

    async def _tell(self, eviction: EvictionDocument) -> None:
        mover = self._movers.pop(0)
        self._movers.append(mover)
        await mover.evict(eviction)

    def _tell_over(self) -> None:
        for mover in self._movers:
            mover.over()


class Uncounted(Exception):
    """Nobody knows how many sessions there are."""


class Tokens:
    """Stands for the sessions of a gateway that are known by their number alone: a range of whole numbers.

    When fewer are left, those are taken to be gone that were asked for first. What was asked for, and
    happened, isn't asked for again; what was asked for and didn't happen is.
    """

    def __init__(self, count: Callable[[], int | None]) -> None:
        self._count = count
        self._first = 0
        self._known = 0

    def __call__(self) -> range:
        """Return the sessions that there are. Raises `Uncounted`."""
        count = self._count()
        if count is None:
            raise Uncounted
        self._first += max(0, self._known - count)
        self._known = count
        return range(self._first, self._first + count)


def _eviction(drain: Drain, close: int | None) -> EvictionDocument:
    progress = drain.progress
    return EvictionDocument(
        close=close,
        left=drain.sessions(),
        forced=drain.forced.is_set(),
        reason=drain.reason,
        by=drain.by,
        intent=progress.intent,
        deadline=progress.deadline,
        seconds_left=None if drain.deadline is None else max(0.0, drain.deadline - time.monotonic()),
    )
