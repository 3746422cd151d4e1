"""A drain as the gateway meets it: which sessions to move now, by when, and why."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Sized
from typing import Generic, TypeVar

from clusterd.aio import Signal
from clusterd.drain.intent import Intent
from clusterd.drain.pace import Pacer
from clusterd.status import DrainProgress

log = logging.getLogger(__name__)
S = TypeVar("S")
Source = Iterable[S] | Callable[[], Iterable[S]]

_UNPACED = 100
_OFFER_AGAIN = 5.0
_OFFER_AGAIN_FORCED = 1.0
_LOOK_AGAIN = 0.1


class Drain:
    """One drain, handed to the gateway's handler.

    `reason` and `by` say why and who asked, `progress` how it goes. `forced` is set once the deadline asks for all that
    is left at once; `cancelled` when the drain is taken back, or given up: the handler is cancelled then too.
    """

    def __init__(self, intent: Intent, deadline: float, count: Callable[[], int | None]) -> None:
        self.reason = intent.reason
        self.by = intent.by
        self.progress = DrainProgress(intent=intent.id)
        self.forced = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._count = count
        self._changed = Signal()
        self._source: Callable[[], Iterable[object]] | None = None
        self._pacer: Pacer | None = None
        self._rate: float | None = None
        self._over: float | None = None
        self.take_terms(intent, deadline)

    def __repr__(self) -> str:
        return f"<Drain by {self.by}: {self.progress.phase}, {self.progress.left} left>"

    @property
    def deadline(self) -> float | None:
        """The monotonic time (seconds) by which all should be moved; None if there is no hurry."""
        return None if math.isinf(self._deadline) else self._deadline

    async def batches(self, source: Source[S]) -> AsyncIterator[list[S]]:
        """Iterate over lists of sessions to move now, at the asked pace, until none is left.

        `source` is a callable that returns the sessions there are, or an iterable of them. One that was handed out and
        is still there after a few seconds is handed out again if `source` is a callable. Once `forced`, all that are
        left come at once. A handler that takes longer than a quarter of a second for a batch sets the pace itself.
        """
        handout = _Handout(source)
        if callable(source):
            self._source = source
        while not self.cancelled.is_set():
            batch = handout.take(await self._allowance(handout), forced=self.forced.is_set())
            if batch:
                yield batch
            elif handout.finished:
                return
            else:
                await self.pause(_LOOK_AGAIN)

    def sessions(self) -> int | None:
        """Return how many sessions there are: by the agent's count, or else by the source of the batches."""
        count = self._count()
        if count is not None or self._source is None:
            return count
        try:
            return _size(self._source())
        except Exception:  # the gateway's own code, asked at a moment of our choosing
            log.debug("drain: the source of the batches can't be counted", exc_info=True)
            return None

    def take_terms(self, intent: Intent, deadline: float) -> None:
        """Go on at these terms; for the agent."""
        pace, self._deadline = (intent.rate, intent.over), deadline
        if pace != (self._rate, self._over):  # what is to go over a time doesn't start over for another reason
            self._rate, self._over = pace
            self._pacer = None
        self._changed.fire()

    def force(self) -> None:
        """Ask for all that is left at once; for the agent."""
        self.forced.set()
        self._changed.fire()

    def cancel(self) -> None:
        """End the batches; for the agent."""
        self.cancelled.set()
        self._changed.fire()

    async def _allowance(self, handout: _Handout[S]) -> int:
        """Wait until sessions may move, and return how many."""
        while not (self.forced.is_set() or self.cancelled.is_set()):
            pacer = self._paced(handout)
            if pacer is None:
                await asyncio.sleep(0)
                return _UNPACED
            if count := pacer.take(time.monotonic()):
                return count
            await self.pause(pacer.due - time.monotonic())
        return 0 if self.cancelled.is_set() else handout.left

    def _paced(self, handout: _Handout[S]) -> Pacer | None:
        if self._pacer is None:
            rate = self._rate
            if self._over is not None:
                rate = max(1, self.sessions() or handout.left) / self._over
            self._pacer = Pacer(rate, time.monotonic()) if rate else None
        return self._pacer

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until other terms, the deadline or the end of the drain change everything; for the agent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


class _Handout(Generic[S]):
    """Hands out the sessions of a source, each one once; again when it stayed for long."""

    def __init__(self, source: Source[S]) -> None:
        self._live = callable(source)
        fixed: Iterable[S] = () if callable(source) else (list(source) if isinstance(source, Iterator) else source)
        self._look: Callable[[], Iterable[S]] = source if callable(source) else lambda: fixed
        self._handed: dict[Hashable, float] = {}

    @property
    def left(self) -> int:
        """How many sessions there are, handed out or not."""
        return _size(self._look())

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to hand out, now or later."""
        remaining = (session for session in self._look() if self._live or _key(session) not in self._handed)
        return next(iter(remaining), self) is self

    def take(self, count: int, *, forced: bool) -> list[S]:
        """Return up to `count` sessions that are due."""
        now = time.monotonic()
        again = now - (_OFFER_AGAIN_FORCED if forced else _OFFER_AGAIN) if self._live else -math.inf
        due = (session for session in self._look() if self._handed.get(_key(session), -math.inf) <= again)
        batch = list(itertools.islice(due, count))
        self._handed.update((_key(session), now) for session in batch)
        return batch


def _key(session: object) -> Hashable:
    """Return what a session is known by; one that can't be hashed, by its identity."""
    try:
        hash(session)
    except TypeError:
        return id(session)
    return session


def _size(sessions: Iterable[object]) -> int:
    return len(sessions) if isinstance(sessions, Sized) else sum(1 for _ in sessions)
