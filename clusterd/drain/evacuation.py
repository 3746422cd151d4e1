"""Running the gateway's handler: for as long as sessions may be moved, and again while any are left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from clusterd.aio import Backoff, Signal, end_within
from clusterd.drain.drain import Drain
from clusterd.drain.intent import format_time
from clusterd.drain.trace import DrainTrace
from clusterd.errors import ClusterdError

log = logging.getLogger(__name__)
Handler = Callable[[Drain], Awaitable[None]]

_LOOK_AGAIN = 0.2
_GRACE = 5.0  # seconds that a handler has to end in, once it was cancelled
_MOST_CHARACTERS = 500
_NO_HANDLER = "no drain handler is there to move them: they have to end by themselves"
Strays = dict[asyncio.Task[None], str]
"""Tasks of handlers that ignore that they were cancelled, and what there is to say of each."""


def name_of(handler: Handler) -> str:
    """Return what a person knows a handler by: its function's module and name."""
    function = getattr(handler, "__func__", handler)
    name = getattr(function, "__qualname__", type(handler).__qualname__)
    return f"the drain handler {getattr(function, '__module__', '?')}.{name}"


class Evacuation:
    """Runs the handler of one drain while it is `allowed`.

    `hindrance` says what keeps the gateway from moving sessions, if anything is known to; `activity` what it does.
    """

    def __init__(
        self, drain: Drain, handler: Callable[[], Handler | None], node: str, trace: DrainTrace, strays: Strays
    ) -> None:
        self.hindrance = ""
        self.activity = ""
        self._drain = drain
        self._handler = handler
        self._node = node
        self._trace = trace
        self._strays = strays
        self._allowed = False
        self._signal = Signal()
        self._backoff = Backoff(0.5, 5.0)
        self._called = "the drain handler"

    def allow(self, allowed: bool) -> None:
        """Let sessions be moved from now on, or no longer."""
        if allowed is not self._allowed:
            self._allowed = allowed
            self._signal.fire()

    async def run(self) -> None:
        """Run the handler whenever that is allowed, for ever."""
        while True:
            await self._until(True)
            moving = asyncio.create_task(self._move_until_cancelled(), name=f"clusterd drain handler of {self._node}")
            try:
                await self._until(False)
            finally:
                await self._stop(moving)

    async def _stop(self, moving: asyncio.Task[None]) -> None:
        """End a task that moves sessions; one that doesn't end is told of, and left: nothing else must hang by it."""
        try:
            await end_within(_GRACE, moving)
        finally:
            if not moving.done():
                log.error("drain: %s was cancelled and goes on: it may still move sessions", self._called)
                self._strays[moving] = f"{self._called} ignores that it was cancelled, and may still move sessions"
                moving.add_done_callback(self._stray_ended)

    def _stray_ended(self, moving: asyncio.Task[None]) -> None:
        del self._strays[moving]
        log.warning("drain: %s, which was cancelled, has ended after all", self._called)

    async def _until(self, allowed: bool) -> None:
        while self._allowed is not allowed:
            await self._signal.wait()

    async def _move_until_cancelled(self) -> None:
        """Have sessions moved; a handler that swallowed its cancellation is not called again."""
        task = asyncio.current_task()
        while not (task and task.cancelling()):
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
        self._called = name_of(handler)
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
