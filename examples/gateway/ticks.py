"""Doing once a tick what was asked for many times in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Tick:
    """Runs `work` once, at the end of the present turn of the event loop, however often it is asked for.

    With `seconds` above 0 that much later: more comes together, and waits longer.
    """

    def __init__(self, work: Callable[[], None], seconds: float = 0.0) -> None:
        self._work = work
        self._seconds = seconds
        self._handle: asyncio.Handle | None = None

    def ask(self) -> None:
        """Have the work done."""
        if self._handle is None:
            loop = asyncio.get_running_loop()
            self._handle = loop.call_later(self._seconds, self._run) if self._seconds else loop.call_soon(self._run)

    def cancel(self) -> None:
        """Don't do it, if it was asked for."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self._handle = None
        self._work()
