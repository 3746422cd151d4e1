"""A message log of each kind."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clusterd.child import Child
from clusterd.testing import eventually
from examples.gateway.log import Limits, MessageLog
from examples.gateway.log.redis import RedisLog
from examples.gateway.log.sqlite import SqliteLog
from tests.conftest import missing

LIMITS = Limits(mailbox=10, room=70, page=4)


@pytest.fixture(params=["sqlite", "redis"])
async def messages(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MessageLog]:
    """An empty log with small limits: in a file, and in a Redis of its own."""
    if request.param == "sqlite":
        log: MessageLog = SqliteLog(tmp_path / "log.db", fsync="never", limits=LIMITS)
        yield log
        await log.close()
        return
    server = shutil.which("redis-server")
    if server is None:
        missing("this machine has no redis-server")
        raise AssertionError("unreachable: missing() raises")
    path = tmp_path / "redis.sock"
    flags = ("--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path))
    process = await Child.spawn((server, *flags), stdout=asyncio.subprocess.DEVNULL)
    try:
        await eventually(path.exists, what="redis-server")
        log = RedisLog(f"unix://{path}", limits=LIMITS, timeout=20)
        yield log
        await log.close()
    finally:
        await process.kill()
