"""The end of a term, as an event: by the clock, or because something ended it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from clusterd.aio import Signal
from clusterd.errors import Deposed

Listener = Callable[[bool], object]
"""Called at a loss, with whether it is one by choice."""


class Loss:
    """Happens once: when it is `set`, or when the monotonic clock reaches `deadline`, whichever is first.

    It is looked at by the clock, not by a timer: a process that was paused past the deadline sees it at once when it
    goes on, before any timer had its turn.
    """

    def __init__(self, what: str, deadline: float) -> None:
        self._what = what
        self._deadline = deadline
        self._reason = ""
        self._signal = Signal()
        self._listeners: list[Listener] = []

    @property
    def deadline(self) -> float:
        """The monotonic time (seconds) from which on it has happened, unless the term is prolonged before."""
        return self._deadline

    @property
    def reason(self) -> str:
        """Why it happened; empty while it has not."""
        if not self._reason and time.monotonic() >= self._deadline:
            return "its lease could not be renewed in time"
        return self._reason

    def is_set(self) -> bool:
        """Whether it has happened, at this moment."""
        return bool(self._reason) or time.monotonic() >= self._deadline

    async def wait(self) -> str:
        """Wait until it has happened, and return the reason."""
        while not self.is_set():
            await self._signal.wait()
        return self.reason

    def set(self, reason: str, *, by_choice: bool = False) -> None:
        """Let it happen now, as a resignation if `by_choice`. The first reason stays."""
        if self._reason:
            return
        self._reason, self._deadline = self.reason or reason, min(self._deadline, time.monotonic())
        for listener in tuple(self._listeners):
            listener(by_choice)
        self._signal.fire()

    def error(self) -> Deposed:
        """Return the error that says so."""
        return Deposed(f"{self._what} is not held any more: {self.reason}")

    def check(self) -> None:
        """Raise `Deposed` once it has happened."""
        if self.is_set():
            raise self.error()

    def prolong(self, deadline: float) -> None:
        """Move the deadline. Raises `Deposed` where the old one has passed: what is lost stays lost."""
        self.check()
        self._deadline = deadline

    def on_set(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(by_choice)` when it is `set`; returns what takes the listener off again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)


class Deposing:
    """A context whose body is cancelled at a loss, and which raises `Deposed` in place of that cancellation.

    A body that resigns of its own goes on.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._fired = False
        self._forget: Callable[[], None] = lambda: None
        self._soon: asyncio.Handle | None = None

    def __enter__(self) -> Self:
        self._loss.check()
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("a term is entered in a task")
        self._cancelling = self._task.cancelling()
        self._forget = self._loss.on_set(self._lost)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()
        if self._soon is not None:
            self._soon.cancel()
        if not self._fired or self._task is None:
            return
        still_cancelled = self._task.uncancel() > self._cancelling
        if isinstance(error, asyncio.CancelledError) and not still_cancelled:
            raise self._loss.error() from error

    def _lost(self, by_choice: bool) -> None:
        if asyncio.current_task() is not self._task:
            self._cancel()
        elif not by_choice:  # a call of the body's own found out, and raises Deposed: that may yet be swallowed
            self._soon = asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._fired = True
            self._task.cancel()
