"""A WebSocket through the proxy: bytes, as they come, both ways.

Nothing of it is decoded, so that close codes, pings, fragments, masks and compression pass as they are, and a chunk of
many frames costs as much as one of few. Frames from the node are only counted off, to know where one could be put
between them: when the router stops, or the node is lost, the client is told by a close frame.
"""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
from aiohttp import web
from aiohttp.http import StreamWriter
from aiohttp.streams import StreamReader

from clusterd.aio import beside
from examples.router.frames import FrameTracker, close_frame
from examples.router.headers import to_client, upgrading
from examples.router.settings import Limits
from examples.router.upstreams import Leash

_BUFFER = 64 * 1024
_LAST_WORDS = 1.0
LOST = 1014  # "bad gateway", from the registry of close codes


class _Bytes:
    """What aiohttp's connections take for a parser: hands the bytes on to a reader, which holds the sender back."""

    def __init__(self, reader: StreamReader) -> None:
        self._reader = reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()


class Tunnel:
    """Joins a client's connection and that of a node which has just granted it a WebSocket."""

    def __init__(self, request: web.BaseRequest, granted: aiohttp.ClientResponse, limits: Limits, via: str) -> None:
        loop = asyncio.get_running_loop()
        assert granted.connection is not None  # noqa: S101 - it said 101
        assert granted.connection.protocol is not None  # noqa: S101
        self._request = request
        self._node = granted.connection.protocol
        self._limits = limits
        self._response = web.StreamResponse(status=101, headers=upgrading(to_client(granted.headers, via=via)))
        self._from_client = StreamReader(request.protocol, _BUFFER, loop=loop)
        self._from_node = StreamReader(self._node, _BUFFER, loop=loop)
        self._to_node = StreamWriter(self._node, loop)
        self._frames = FrameTracker()

    async def run(self, leash: Leash) -> web.StreamResponse:
        """Pass bytes until either side ends or the leash is pulled."""
        leash.websocket = True
        self._response.force_close()
        await self._response.prepare(self._request)
        self._request.protocol.set_parser(_Bytes(self._from_client))  # type: ignore[arg-type]
        self._node.read_timeout = None
        self._node.set_parser(_Bytes(self._from_node), self._from_node)
        async with beside(self._carry_to_node(), name="router client to node") as upward:
            await self._carry_to_client(leash, upward)
        return self._response

    async def _carry_to_node(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, aiohttp.ClientError):
            while chunk := await self._from_client.readany():
                async with asyncio.timeout(self._limits.answer):
                    await self._to_node.write(chunk)
        if self._node.transport is not None:
            self._node.transport.close()  # and so the other direction ends

    async def _carry_to_client(self, leash: Leash, upward: asyncio.Task[None]) -> None:
        code, why = LOST, "the node is gone"
        try:
            async with leash:
                await self._pass_on()
        except TimeoutError:
            code, why = leash.code, leash.why
        with contextlib.suppress(ConnectionError, TimeoutError, aiohttp.ClientError):
            async with asyncio.timeout(_LAST_WORDS):
                if await self._say_goodbye(code, why):
                    await self._hear_out(upward)

    async def _pass_on(self) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            while chunk := await self._from_node.readany():
                self._frames.feed(chunk)
                await self._write(chunk)

    async def _write(self, chunk: bytes) -> None:
        try:
            async with asyncio.timeout(self._limits.client):
                await self._response.write(chunk)
        except TimeoutError:
            self._drop_client()

    async def _say_goodbye(self, code: int, why: str) -> bool:
        """Complete the frame that has begun, and close; returns False where the node has done so, or can't be."""
        while (missing := self._frames.missing) and (chunk := await self._from_node.readany()):
            self._frames.feed(chunk[:missing])
            await self._response.write(chunk[:missing])
        if self._frames.closed or not self._frames.between:
            return False
        await self._response.write(close_frame(code, why))
        return True

    async def _hear_out(self, upward: asyncio.Task[None]) -> None:
        """Wait for the client's own close: a node that lives gets it and closes too, after one that doesn't it ends.

        A connection that is closed with something unread is reset, and our close frame might be lost with it.
        """
        if self._from_node.at_eof():
            await asyncio.wait([upward])
        while await self._from_node.readany():
            pass

    def _drop_client(self) -> None:
        """Cut off a client that takes nothing: what waits for it would wait for ever."""
        if self._request.transport is not None:
            self._request.transport.abort()
