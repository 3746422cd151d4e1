"""A slow side holds the other one back, and the router's memory stays as it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from clusterd.testing import eventually

MUCH = 100_000_000
LITTLE = 30_000_000


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def test_a_client_that_takes_nothing_holds_the_node_back_and_is_let_go(front: Any) -> None:
    await front.start(1, "--client", "1")
    before = resident(front.router.pid)
    url = URL(front.url)
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=1000)
    try:
        writer.write(f"GET /slow?size={MUCH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await eventually(lambda: under_way(front, 1))
        await eventually(lambda: under_way(front, 0), what="the client is let go")
        assert resident(front.router.pid) - before < LITTLE
    finally:
        writer.transport.abort()
        reader.feed_eof()


async def test_a_slow_node_holds_the_client_back(front: Any) -> None:
    await front.start(1)
    before, sent = resident(front.router.pid), 0

    async def chunks() -> Any:
        nonlocal sent
        while sent < MUCH:
            sent += 65_536
            yield bytes(65_536)

    upload = asyncio.create_task(front.get("/sink?rate=100000", "POST", data=chunks()), name="upload")
    try:
        await eventually(lambda: sent > 65_536)
        last = -1
        while last != sent:  # until everything between here and there is full
            last = sent
            await asyncio.sleep(0.5)
        assert sent < LITTLE
        assert resident(front.router.pid) - before < LITTLE
    finally:
        upload.cancel()
        await asyncio.wait([upload])


async def test_a_client_that_sends_nothing_is_answered_408(front: Any) -> None:
    await front.start(1, "--client", "0.5")

    async def chunks() -> Any:
        yield b"x" * 10
        await asyncio.sleep(60)

    status, body = await front.get("/", "POST", data=chunks(), headers={"Content-Length": "1000"})
    assert (status, body["error"]) == (408, "client_too_slow")


async def test_a_websocket_that_is_not_read_holds_the_node_back(front: Any) -> None:
    await front.start(1)
    before = resident(front.router.pid)
    async with front.socket() as socket:
        sent = 0
        try:
            async with asyncio.timeout(3):
                while sent < MUCH:
                    await socket.send_bytes(bytes(1_000_000))
                    sent += 1_000_000
        except TimeoutError:
            pass
        assert sent < MUCH
        assert resident(front.router.pid) - before < LITTLE
        try:
            async with asyncio.timeout(0.1):
                await socket.close()
        except (TimeoutError, aiohttp.ClientError):
            pass


async def under_way(front: Any, count: int) -> bool:
    return bool((await front.look())["gw-1"]["active"] == count)
