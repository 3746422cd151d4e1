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
        self._listener: socket.socket | None = None
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
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def heal(self) -> None:
        """Be a network that works again."""
        self._seconds = 0.0
        self._flows.set()
        self._listen()

    async def __aenter__(self) -> Self:
        for left in reversed(range(_PORT_TRIES)):
            self.port = free_ports(1)[0]
            try:
                self._listen()
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

    def _listen(self) -> None:
        # Not asyncio's server: one that is closed as a connection comes leaves that open, and to nobody.
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._listener.setblocking(False)
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            connection = _Connection(self, listener.accept()[0])
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

    def __init__(self, proxy: TcpProxy, accepted: socket.socket) -> None:
        self._proxy = proxy
        self._accepted = accepted
        self._client: asyncio.StreamWriter | None = None
        self._target: asyncio.StreamWriter | None = None
        self._severed = False

    async def run(self, host: str, port: int) -> None:
        """Forward until either side ends; once severed, until the client does. Raises `OSError` if a side is reset."""
        from_client, self._client = await asyncio.open_connection(sock=self._accepted)
        await self._proxy.carry()
        from_target, self._target = await asyncio.open_connection(host, port)
        try:
            await self._forward((from_client, self._target), (from_target, self._client))
        except OSError:
            if not self._severed:
                raise
        if self._severed:
            while await from_client.read(_CHUNK):
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
        if self._client is None:
            self._accepted.close()
        for writer in filter(None, (self._client, self._target)):
            writer.close()

    async def _forward(self, *directions: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        with contextlib.suppress(_Ended):
            async with plain_errors(), asyncio.TaskGroup() as group:
                for number, (reader, writer) in enumerate(directions):
                    group.create_task(self._pump(reader, writer), name=f"proxy pump {number}")

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
