"""A TCP proxy whose network can be made bad while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from typing import Self
from urllib.parse import urlsplit

from clusterd.aio import plain_errors
from clusterd.etcd.process import free_ports

_CHUNK = 64 * 1024
_PORT_TRIES = 5
_LINGER_ZERO = struct.pack("ii", 1, 0)  # closing such a socket sends a reset


class TcpProxy:
    """Listens on a port of 127.0.0.1 and forwards to `target`, a URL or `host:port`; an async context manager.

    It starts as a network that works. `delay`, `drop`, `half_open` and `refuse` make it bad in one way each, and add
    up; `heal` takes all of them back. They hold for the connections that are there and for those that come.
    """

    def __init__(self, target: str) -> None:
        url = urlsplit(target if "//" in target else f"//{target}")
        self._scheme = url.scheme
        self._target = (url.hostname or "127.0.0.1", url.port or 0)
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._seconds = 0.0
        self._severed = False
        self.port = 0

    @property
    def endpoint(self) -> str:
        """Where clients connect: a URL with the target's scheme, or `host:port`."""
        address = f"127.0.0.1:{self.port}"
        return f"{self._scheme}://{address}" if self._scheme else address

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def delay(self, seconds: float) -> None:
        """Let bytes arrive late: at least `seconds`, at most twice that, in each direction."""
        self._seconds = seconds

    def drop(self) -> None:
        """A black hole: connections stay, new ones are accepted, and no byte arrives.

        Once healed the bytes arrive late, as they would by TCP's retransmission.
        """
        self._flows.clear()

    def half_open(self) -> None:
        """Let the target's side of each connection be gone, without the client hearing of it."""
        self._severed = True
        for connection in self._connections.values():
            connection.sever()

    def reset(self) -> None:
        """Reset all connections, once; new ones work as before."""
        for connection in self._connections.values():
            connection.reset()

    async def refuse(self) -> None:
        """Refuse new connections; those that are there go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def heal(self) -> None:
        """Be a network that works again. Connections that were half open get reset: nothing else can end them."""
        if self._severed:
            self.reset()
        self._severed = False
        self._seconds = 0.0
        self._flows.set()
        await self._listen()

    async def __aenter__(self) -> Self:
        for left in reversed(range(_PORT_TRIES)):
            self.port = free_ports(1)[0]
            try:
                await self._listen()
            except OSError as error:
                if error.errno != errno.EADDRINUSE or not left:
                    raise
            else:
                break
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs it in a task of its own
        connection = self._connections[task] = _Connection(self, reader, writer)
        try:
            await connection.run(*self._target)
        except OSError:
            connection.reset()
        finally:
            del self._connections[task]
            connection.close()

    async def carry(self) -> None:
        """Wait as long as the network takes for some bytes now."""
        await asyncio.sleep(self._seconds)
        await self._flows.wait()

    @property
    def severed(self) -> bool:
        """Whether the target's side of all connections is gone (`half_open`)."""
        return self._severed


class _Connection:
    """One client's connection, and ours to the target on its behalf."""

    def __init__(self, proxy: TcpProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._client = writer
        self._target: asyncio.StreamWriter | None = None

    async def run(self, host: str, port: int) -> None:
        """Forward until either side ends; while severed, until the client does. Raises `OSError` if a side is reset."""
        if not self._proxy.severed:
            await self._proxy.carry()
            reader, self._target = await asyncio.open_connection(host, port)
            await self._forward(reader, self._target)
        if self._proxy.severed:
            while await self._reader.read(_CHUNK):
                pass

    def sever(self) -> None:
        """Drop the target's side."""
        if self._target is not None:
            self._target.transport.abort()

    def reset(self) -> None:
        """Have both sides see a reset."""
        for writer in filter(None, (self._client, self._target)):
            _reset(writer)

    def close(self) -> None:
        """Close both sides."""
        for writer in filter(None, (self._client, self._target)):
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(_Ended):
            async with plain_errors(), asyncio.TaskGroup() as group:
                group.create_task(self._pump(self._reader, writer), name="proxy to target")
                group.create_task(self._pump(reader, self._client), name="proxy to client")

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._proxy.carry()
            writer.write(data)
            await writer.drain()
        if not self._proxy.severed:
            await self._proxy.carry()  # the news of the end takes the same way
        raise _Ended


class _Ended(Exception):
    """One side has closed: ends the pump of the other direction too."""


def _reset(writer: asyncio.StreamWriter) -> None:
    transport = writer.transport
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        transport.abort()
