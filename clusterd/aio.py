"""Structured concurrency in the form that clusterd uses: deadlines on the monotonic clock, and tasks with owners."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock (seconds) by which something must be done, however many attempts it takes."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return self.remaining == 0.0

    def share(self, parts: int, floor: float = 0.25) -> float:
        """Return the seconds that the next of `parts` attempts may take, so that all of them fit.

        A share is at least `floor` seconds while that much is left: an attempt that can't succeed helps nobody.
        """
        return min(self.remaining, max(self.remaining / parts, floor))


@contextlib.asynccontextmanager
async def plain_errors() -> AsyncIterator[None]:
    """Let the one error of a task group come out as itself, not in a group of one: callers name what they catch.

    Where several tasks failed at once the first is raised, with the group as its cause.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        # One layer only: a group further in is what a body or a task raised itself, on purpose.
        first = group.exceptions[0]
        raise first from (group if len(group.exceptions) > 1 else first.__cause__)


async def run_together(**named: Coroutine[Any, Any, Any]) -> None:
    """Run coroutines side by side, each in a task of its keyword's name, until all end or the first one fails.

    When one fails, or the caller is cancelled, the others are cancelled and awaited; the failure is raised as itself.
    A caller that is cancelled while they end is cancelled, whatever failed: up to Python 3.12 a `TaskGroup` forgets
    that, and it cancels the task that it is in, so that only a task of its own leaves the caller's count alone.
    """
    caller = asyncio.current_task()
    assert caller is not None  # noqa: S101 - a coroutine that awaits tasks runs in one
    before = caller.cancelling()
    try:
        await asyncio.create_task(_run_in_group(named), name=f"{caller.get_name()}: together")
    finally:
        for coroutine in named.values():
            coroutine.close()  # one that the cancellation came too early for was never awaited
        if caller.cancelling() > before:
            raise asyncio.CancelledError


async def _run_in_group(named: Mapping[str, Coroutine[Any, Any, Any]]) -> None:
    async with plain_errors(), asyncio.TaskGroup() as group:
        for name, coroutine in named.items():
            group.create_task(coroutine, name=name)


@contextlib.asynccontextmanager
async def beside(coroutine: Coroutine[Any, Any, Any], *, name: str) -> AsyncIterator[asyncio.Task[Any]]:
    """Run one coroutine in a task of that name while the body runs; at its end it is cancelled and awaited.

    Unlike a task group this leaves the body's errors as they are. If the coroutine fails, that is raised after the
    body, unless the body failed itself.
    """
    task = asyncio.create_task(coroutine, name=name)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def level_for(error: Exception, last: Exception | None) -> int:
    """Return the level to log a failed attempt at: a loop that fails in the same way again says so once."""
    return logging.DEBUG if str(error) == str(last) else logging.WARNING


class Signal:
    """Wakes everyone who is waiting at the moment it fires; a waiter looks at the state itself, before and after."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def fire(self) -> None:
        """Wake all current waiters."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def wait(self) -> None:
        """Wait for the next firing."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)


class Patience:
    """Seconds to wait for an answer: few at first, so that a dead endpoint is soon left, twice as many after a failure.

    Whoever is merely slow gets to answer in the end. Giving up on it after the same few seconds each time, and asking
    again on another connection, is more work for it than the answer was, and a fleet that does so keeps it slow.
    """

    def __init__(self, first: float, most: float) -> None:
        self.seconds = self.first = first
        self._most = max(first, most)

    def answered(self) -> None:
        """Note that an answer came."""
        self.seconds = max(self.seconds / 2, self.first)

    def failed(self) -> None:
        """Note that no answer came in time."""
        self.seconds = min(self.seconds * 2, self._most)


class Backoff:
    """Pauses of random length up to a bound that doubles ("full jitter"), so that a fleet doesn't return in step.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._failures = 0

    def reset(self) -> None:
        """Start over: what failed has worked again."""
        self._failures = 0

    def next(self) -> float:
        """Return the seconds to pause before the next attempt."""
        bound = min(self._most, self._first * 2 ** min(self._failures, 30))
        self._failures += 1
        return random.uniform(0, bound)  # noqa: S311 - spreads load
