"""When a process didn't get to run: what happens to its agents then may be for lack of a processor."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable

from clusterd.testing import Recorder

_EVERY_SECONDS = 0.25
_WORTH_TELLING = 0.5


async def watch_load(recorder: Recorder) -> None:
    """Record how many processes want to run."""
    while True:
        recorder.note("load", load=os.getloadavg()[0], cores=os.cpu_count() or 1)
        await asyncio.sleep(_EVERY_SECONDS * 4)


async def watch_lag(recorder: Recorder, whom: Callable[[], Iterable[str]]) -> None:
    """Record it, for each of those that it concerns."""
    while True:
        due = time.monotonic() + _EVERY_SECONDS
        await asyncio.sleep(_EVERY_SECONDS)
        if (late := time.monotonic() - due) > _WORTH_TELLING:
            for who in whom():
                recorder.note("lag", who, seconds=late)
