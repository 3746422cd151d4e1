"""A redis-server as a process, where the machine has one."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from clusterd.child import Child
from clusterd.testing import eventually
from tests.conftest import missing


@asynccontextmanager
async def running_redis(directory: Path, *listen: str, at: str | tuple[str, int]) -> AsyncIterator[None]:
    """Run an empty Redis that listens as its flags say: `at` the path of a socket, or a host and a port."""
    server = shutil.which("redis-server")
    if server is None:
        missing("this machine has no redis-server")
        raise AssertionError("unreachable: missing() raises")
    command = (server, *listen, "--save", "", "--dir", str(directory))
    process = await Child.spawn(command, stdout=asyncio.subprocess.DEVNULL)
    try:
        await eventually(lambda: _takes_connections(at), what="redis-server")
        yield
    finally:
        await process.kill()


def _takes_connections(at: str | tuple[str, int]) -> bool:
    with socket.socket(socket.AF_UNIX if isinstance(at, str) else socket.AF_INET) as probe:
        return probe.connect_ex(at) == 0
