"""Streams of server-sent events: bounded in number and in what one that doesn't read can hold up.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator

from aiohttp import web

from clusterd.aio import Signal
from clusterd.sidecar.http.answers import Problem, encode, not_ready

MAX_STREAMS = 2048
"""Streams that are open at a time; who asks for one more is told to come again later."""

HEARTBEAT_SECONDS = 15.0
STALL_SECONDS = 10.0
"""For how long a client may take nothing while there is something to take, before it is cut off."""

_HEARTBEAT = b": \n\n"
_PIECE = 32 * 1024
_SEND_BUFFER = 256 * 1024
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event(name: str, data: bytes, id: str = "") -> bytes:  # noqa: A002 - the field's name in the format
    """Return one event; `data` is a document on one line."""
    head = f"id: {id}\nevent: {name}" if id else f"event: {name}"
    return b"%b\ndata: %b\n\n" % (head.encode(), data)


class Stream:
    """One client's stream of events."""

    def __init__(self, response: web.StreamResponse, request: web.Request) -> None:
        self.response = response
        self._request = request
        self._whole = True
        self.closing = ""

    async def send(self, data: bytes) -> None:
        """Send events. Raises `ConnectionError` when the client is gone, or takes nothing for too long."""
        self._whole = False
        for start in range(0, len(data), _PIECE):
            await self._write(data[start : start + _PIECE] if len(data) > _PIECE else data)
        self._whole = True

    async def idle(self, news: Signal, *, seconds: float = HEARTBEAT_SECONDS) -> bool:
        """Wait for news, and return whether there are some; else a heartbeat was sent, so that a dead client shows."""
        try:
            async with asyncio.timeout(seconds * random.uniform(0.8, 1.0)):  # noqa: S311 - spreads load
                await news.wait()
        except TimeoutError:
            await self.beat()
            return False
        return True

    async def beat(self) -> None:
        """Send what clients pass over. Raises as `send` does."""
        await self.send(_HEARTBEAT)

    async def finish(self) -> None:
        """End the stream; one that is ended by the daemon says why, if the client still listens."""
        with contextlib.suppress(ConnectionError):
            if self.closing and self._whole:
                await self.send(event("end", encode({"reason": self.closing})))
            async with asyncio.timeout(1.0):
                await self.response.write_eof()

    async def _write(self, piece: bytes) -> None:
        transport = self._request.transport
        if transport is not None and not transport.get_write_buffer_size():
            await self.response.write(piece)  # it takes it at once
            return
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self.response.write(piece)
        except TimeoutError:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionAbortedError("the client takes nothing") from None


class Streams:
    """All streams of a listener."""

    def __init__(self) -> None:
        self._open: dict[Stream, asyncio.Task[object]] = {}
        self._closing = ""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def closing(self) -> str:
        """Why all streams are being ended; empty while they aren't."""
        return self._closing

    @contextlib.asynccontextmanager
    async def open(self, request: web.Request) -> AsyncIterator[Stream]:
        """Answer a request by a stream of events, for the time of the body.

        When all streams are ended, the body is cancelled, and the client told. Raises `Problem` where there are too
        many.
        """
        if self._closing:
            raise not_ready(self._closing)
        if len(self._open) >= MAX_STREAMS:
            later = {"Retry-After": str(random.randint(1, 5))}  # noqa: S311 - spreads load
            raise Problem(503, "too_many_streams", f"{MAX_STREAMS} streams are open already", later)
        response = web.StreamResponse(headers=_HEADERS)
        response.force_close()  # it ends where the stream does
        await response.prepare(request)
        _limit_buffer(request)
        stream, task = Stream(response, request), asyncio.current_task()
        assert task is not None  # noqa: S101 - a handler runs in a task
        self._open[stream] = task
        try:
            yield stream
        except asyncio.CancelledError:
            if not stream.closing or task.uncancel() > 0:
                raise
        finally:
            del self._open[stream]
        await stream.finish()

    def close(self, reason: str) -> None:
        """End all streams, and let none begin any more."""
        self._closing = reason
        for stream, task in self._open.items():
            if not stream.closing:
                stream.closing = reason
                task.cancel()


def _limit_buffer(request: web.Request) -> None:
    """Bound what the kernel keeps for a client that reads slowly: it may be one of thousands."""
    sock = request.transport.get_extra_info("socket") if request.transport is not None else None
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
