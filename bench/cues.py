"""The worker's side of a bench of several processes. Imports nothing of clusterd: bare peers use it too.

A worker says a line of JSON when it is ready and one when it has its figures; a line on its standard input is a cue.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any


def say(figures: Any) -> None:
    """Write one line of JSON for the bench that started this worker."""
    print(json.dumps(figures), flush=True)


async def cue() -> None:
    """Wait for the bench's next line; a bench that is gone is a reason to be gone too."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(sys.stdin.fileno(), lambda: readable.done() or readable.set_result(None))
    try:
        await readable
    finally:
        loop.remove_reader(sys.stdin.fileno())
    if not os.read(sys.stdin.fileno(), 4096):
        os._exit(1)


def memory() -> dict[str, int]:
    """Return this process's memory in bytes (Linux): resident, and its share of what several processes share."""
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    sizes = {name: int(size) * 1024 for name, size, *_ in lines}
    return {"rss": sizes["Rss:"], "pss": sizes["Pss:"], "private": sizes["Private_Clean:"] + sizes["Private_Dirty:"]}
