"""The demo's traffic: people who write to each other through the message gateway of examples/, counted in a ledger."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from clusterctl.demo.gateways import environment
from clusterd.aio import Signal
from clusterd.child import Child
from clusterd.errors import ClusterdError

PEOPLE: Final = 12
_NEEDED: Final = ("picows", "uvloop", "redis")
_SETTLE_SECONDS: Final = 15


class Figures(msgspec.Struct, frozen=True):
    """What the ledger has: messages sent and stored, deliveries, what is still to come or lost, what came twice."""

    sent: int = 0
    stored: int = 0
    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    misdelivered: int = 0
    reconnected: int = 0
    over: bool = False

    @property
    def balanced(self) -> bool:
        """Whether everything came, once, and to whom it was meant for."""
        return self.over and bool(self.sent) and not (self.lost or self.duplicated or self.misdelivered)

    def __str__(self) -> str:
        wrong = f", misdelivered {self.misdelivered}" if self.misdelivered else ""
        return f"sent {self.sent}, delivered {self.delivered}, lost {self.lost}, duplicated {self.duplicated}{wrong}"


class Traffic:
    """The process of the people, and what it told last. What it says besides goes to `log`."""

    def __init__(self, checkout: Path, log: Path) -> None:
        self.figures = Figures()
        self._checkout = checkout
        self._log = log
        self._child: Child | None = None
        self._reader: asyncio.Task[None] | None = None
        self._news = Signal()

    async def start(self, urls: Sequence[str]) -> None:
        """Have people come in at these URLs, and write to each other."""
        command = (sys.executable, "-m", "examples.gateway", "traffic", *urls)
        flags = ("--people", str(PEOPLE), "--settle", str(_SETTLE_SECONDS))
        with self._log.open("ab") as log:
            self._child = await Child.spawn(
                (*command, *flags), env=environment(self._checkout), stdout=asyncio.subprocess.PIPE, stderr=log
            )
        self._reader = asyncio.create_task(self._read(self._child), name="clusterctl demo's ledger")

    async def more(self, stored: int, seconds: float) -> float | None:
        """Wait until so many more messages were stored; return how long that took, None if it took too long."""
        goal = self.figures.stored + stored
        return await self._until(lambda: self.figures.stored >= goal, seconds)

    async def finish(self) -> Figures:
        """Have everybody stop writing and wait for what is under way; return the whole ledger."""
        if self._child is not None and self._reader is not None:
            await self._child.stop(2 * _SETTLE_SECONDS)
            await self._reader
        return self.figures

    async def close(self) -> None:
        """End it, whatever it does."""
        if self._child is not None and self._reader is not None:
            await self._child.kill()
            await self._reader

    async def _until(self, holds: Callable[[], bool], seconds: float) -> float | None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self._check()
                    await self._news.wait()
        except TimeoutError:
            return None
        return time.monotonic() - started

    async def _read(self, child: Child) -> None:
        assert child.stdout is not None  # noqa: S101 - it was asked for
        while line := await child.stdout.readline():
            self.figures = msgspec.json.decode(line, type=Figures)
            self._news.fire()
        self._news.fire()

    def _check(self) -> None:
        if self._reader is not None and self._reader.done():
            last = self._log.read_text(errors="replace").splitlines()[-1:]
            raise ClusterdError(f"the demo's traffic ended: {' '.join(last) or 'it said nothing'}")


def find_gateway() -> tuple[Path | None, str]:
    """Return the checkout whose examples/gateway can run here; or None, and why there is none."""
    checkout = Path(__file__).resolve().parents[3]
    if not (checkout / "examples" / "gateway" / "__main__.py").is_file():
        return None, "an installation has no examples/: in a checkout `make demo` runs the message gateway too"
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return None, f"the message gateway needs {', '.join(missing)}: pip install 'clusterd[gateway]'"
    return checkout, ""
