"""Structured concurrency in the form that clusterd uses: deadlines on the monotonic clock, and tasks with owners."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Self

from clusterd.errors import UsageError

_AT_A_TIME = 16
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


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

    When one fails, or the caller is cancelled, the others are cancelled and awaited; the failure is raised as itself. A
    cancellation goes before a failure at the same time: Python's task groups lose it, up to 3.12, and a caller that
    goes on after failures would never end.
    """
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in named.items()]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        errors = await _end(tasks)
    if errors:
        raise errors[0] from (BaseExceptionGroup("all that failed", errors) if errors[1:] else errors[0].__cause__)


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
        errors = await _end([task])
    if errors:
        raise errors[0]


@contextlib.asynccontextmanager
async def needing(coroutine: Coroutine[Any, Any, Any], *, name: str) -> AsyncIterator[None]:
    """Run one coroutine in a task of that name while the body runs; its failure ends the body, and is raised."""
    async with plain_errors(), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(coroutine, name=name)
        try:
            yield
        finally:
            task.cancel()


async def _end(tasks: Sequence[asyncio.Task[Any]], deadline: Deadline | None = None) -> list[BaseException]:
    """Cancel tasks and await them, also when cancelled meanwhile; returns the errors of those that failed.

    With a `deadline` those that go on past it are left alone.
    """
    for task in tasks:
        task.cancel()
    cancelled = None
    while (pending := [task for task in tasks if not task.done()]) and not (deadline and deadline.expired):
        try:
            await asyncio.wait(pending, timeout=deadline.remaining if deadline else None)
        except asyncio.CancelledError as error:
            cancelled = error
    ended = (task for task in tasks if task.done() and not task.cancelled())
    failures = [failure for task in ended if (failure := task.exception())]
    if cancelled is not None:
        raise cancelled
    return failures


async def end_within(seconds: float, task: asyncio.Task[Any]) -> bool:
    """Cancel a task and await it for so many seconds, also when cancelled meanwhile; returns whether it ended.

    For code that isn't ours, which may ignore its cancellation. An error that the task ended with is raised.
    """
    for failure in await _end([task], Deadline.after(seconds)):
        raise failure
    return task.done()


@contextlib.contextmanager
def on_first_signal(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` at the first SIGTERM or SIGINT; the next one has its default effect again, and ends the process."""
    loop = asyncio.get_running_loop()

    def restore() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def first() -> None:
        restore()
        stop()

    for number in _SIGNALS:
        loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        restore()


class RunsOnce(abc.ABC):
    """An async context manager whose life is `_live`, once: a second one raises `UsageError` with `_once`."""

    _once: ClassVar[str]
    _life: contextlib.AbstractAsyncContextManager[None] | None = None

    @abc.abstractmethod
    def _live(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Return what to enter, and to leave at the end."""

    async def __aenter__(self) -> Self:
        if self._life is not None:
            raise UsageError(self._once)
        self._life = self._live()
        await self._life.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._life.__aexit__(kind, error, trace) if self._life else None


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


class Crowd(Signal):
    """A signal that many wait for: they are woken some at a time, so that the loop gets to other things in between."""

    def fire(self) -> None:
        """Wake all current waiters, in the next turns of the loop."""
        waiting, self._waiters = list(self._waiters), set()
        self._wake(waiting)

    def _wake(self, waiting: list[asyncio.Future[None]]) -> None:
        for waiter in waiting[-_AT_A_TIME:]:
            if not waiter.done():
                waiter.set_result(None)
        del waiting[-_AT_A_TIME:]
        if waiting:
            asyncio.get_running_loop().call_soon(self._wake, waiting)


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
