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

    It starts as a network that works. `delay`, `drop` and `refuse` make it bad, and add up, until `heal` takes them
    back. `half_open` and `reset` befall the connections of that moment; new ones are as good as the network is.
    """

    def __init__(self, target: str) -> None:
        url = urlsplit(target if "//" in target else f"//{target}")
        self._scheme = url.scheme
        self._target = (url.hostname or "127.0.0.1", url.port or 0)
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._server: asyncio.Server | None = None
        self._ended = False
        self._flows = asyncio.Event()
        self._flows.set()
        self._seconds = 0.0
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
        """Let the target's side of all connections be gone, once, without the clients ever hearing of it."""
        for connection in self._connections.values():
            connection.sever()

    def reset(self) -> None:
        """Reset all connections, once."""
        for connection in self._connections.values():
            connection.reset()

    async def refuse(self) -> None:
        """Refuse new connections; those that are there go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def heal(self) -> None:
        """Be a network that works again."""
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
        self._ended = True
        await self.refuse()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Own the connection from this moment on: one that comes as the proxy goes must not outlive it."""
        if self._ended:
            writer.transport.abort()
            return
        connection = _Connection(self, reader, writer)
        task = asyncio.create_task(self._serve(connection), name="proxy connection")
        self._connections[task] = connection
        task.add_done_callback(lambda task: self._connections.pop(task).close())

    async def _serve(self, connection: _Connection) -> None:
        try:
            await connection.run(*self._target)
        except OSError:
            connection.reset()

    async def carry(self) -> None:
        """Wait as long as the network takes for some bytes now."""
        await asyncio.sleep(self._seconds)
        await self._flows.wait()


class _Connection:
    """One client's connection, and ours to the target on its behalf."""

    def __init__(self, proxy: TcpProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._client = writer
        self._target: asyncio.StreamWriter | None = None
        self._severed = False

    async def run(self, host: str, port: int) -> None:
        """Forward until either side ends; once severed, until the client does. Raises `OSError` if a side is reset."""
        await self._proxy.carry()
        reader, self._target = await asyncio.open_connection(host, port)
        try:
            await self._forward(reader, self._target)
        except OSError:
            if not self._severed:
                raise
        if self._severed:
            while await self._reader.read(_CHUNK):
                pass

    def sever(self) -> None:
        """Drop the target's side, and keep the client's."""
        if self._target is not None:
            self._severed = True
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
        if not self._severed:
            await self._proxy.carry()  # the news of the end takes the same way
        raise _Ended


class _Ended(Exception):
    """One side has closed: ends the pump of the other direction too."""


def _reset(writer: asyncio.StreamWriter) -> None:
    transport = writer.transport
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        transport.abort()
