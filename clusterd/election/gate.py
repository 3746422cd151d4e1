"""Whether this process may stand for an office at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from clusterd.aio import Signal


class Gate:
    """Open, shut for a while, or closed for good; whoever stands for an office keeps to it."""

    def __init__(self) -> None:
        self._reason = ""
        self._closing: Exception | None = None
        self._inside = 0
        self._signal = Signal()

    def open(self) -> None:
        """Let candidates in again. Does nothing once it is closed."""
        self._become("")

    def shut(self, reason: str) -> None:
        """Let nobody in, and send out who is there, until it opens again; `reason` says why."""
        self._become(reason)

    def close(self, error: Exception) -> None:
        """Shut for ever: who waits, or comes later, gets `error`."""
        self._closing = error
        self._become(str(error))

    async def opened(self) -> None:
        """Wait until it is open. Raises the error that it was closed with."""
        while self._reason:
            if self._closing is not None:
                raise self._closing
            await self._signal.wait()

    async def left(self) -> str:
        """Wait until it is shut, and return the reason."""
        while not self._reason:
            await self._signal.wait()
        return self._reason

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Count somebody in for the time of the body."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._signal.fire()

    @property
    def empty(self) -> bool:
        """Whether nobody is inside."""
        return self._inside == 0

    async def emptied(self) -> None:
        """Wait until nobody is inside."""
        while self._inside:
            await self._signal.wait()

    def _become(self, reason: str) -> None:
        self._reason = str(self._closing) if self._closing else reason
        self._signal.fire()
