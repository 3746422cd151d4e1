"""Running the gateway's handler: for as long as sessions may be moved, and again while any are left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from clusterd.aio import Backoff, Signal, beside
from clusterd.drain.drain import Drain
from clusterd.drain.intent import format_time
from clusterd.drain.trace import DrainTrace
from clusterd.errors import ClusterdError

log = logging.getLogger(__name__)
Handler = Callable[[Drain], Awaitable[None]]

_LOOK_AGAIN = 0.2
_MOST_CHARACTERS = 500
_NO_HANDLER = "no drain handler is there to move them: they have to end by themselves"


class Evacuation:
    """Runs the handler of one drain while it is `allowed`.

    `hindrance` says what keeps the gateway from moving sessions, if anything is known to; `activity` what it does.
    """

    def __init__(self, drain: Drain, handler: Callable[[], Handler | None], node: str, trace: DrainTrace) -> None:
        self.hindrance = ""
        self.activity = ""
        self._drain = drain
        self._handler = handler
        self._node = node
        self._trace = trace
        self._allowed = False
        self._signal = Signal()
        self._backoff = Backoff(0.5, 5.0)

    def allow(self, allowed: bool) -> None:
        """Let sessions be moved from now on, or no longer."""
        if allowed is not self._allowed:
            self._allowed = allowed
            self._signal.fire()

    async def run(self) -> None:
        """Run the handler whenever that is allowed, for ever."""
        while True:
            await self._until(True)
            async with beside(self._move_for_ever(), name=f"clusterd drain handler of {self._node}"):
                await self._until(False)

    async def _until(self, allowed: bool) -> None:
        while self._allowed is not allowed:
            await self._signal.wait()

    async def _move_for_ever(self) -> None:
        while True:
            if self._drain.sessions() == 0:
                await asyncio.sleep(_LOOK_AGAIN)
            elif await self._helped():
                self._backoff.reset()
                await asyncio.sleep(0)
            else:
                await self._drain.pause(_LOOK_AGAIN + self._backoff.next())

    async def _helped(self) -> bool:
        """Have the handler move sessions; returns whether fewer are left."""
        before = self._drain.sessions()
        await self._move_once()
        left = self._drain.sessions()
        return before is not None and left is not None and left < before

    async def _move_once(self) -> None:
        handler = self._handler()
        if handler is None:
            self.hindrance = _NO_HANDLER
            return
        if self.hindrance == _NO_HANDLER:
            self.hindrance = ""
        self.activity = f"the drain handler runs since {format_time(datetime.now(UTC))}"
        try:
            with self._trace.entered():
                await handler(self._drain)
        except ClusterdError as error:
            log.warning("drain: %s; the handler is called again", error)
            self.hindrance = str(error)[:_MOST_CHARACTERS]
        except Exception as error:
            log.exception("drain: the handler failed; it is called again")
            self.hindrance = f"the drain handler raised {type(error).__name__}: {error}"[:_MOST_CHARACTERS]
        else:
            self.hindrance, self.activity = "", "the drain handler has returned, and sessions are left"
