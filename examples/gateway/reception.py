"""Where clients come in: the WebSocket server, its sessions, and the page."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import logging
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from typing import Final

import msgspec
from picows import WSListener, WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server

from clusterd.aio import beside
from examples.gateway.connection import Connection
from examples.gateway.courier import Courier
from examples.gateway.handshake import refusal
from examples.gateway.hub import Hub
from examples.gateway.peering import Session
from examples.gateway.protocol import MAX_FRAME, Hello, Welcome
from examples.gateway.ticks import Tick

BACKLOG: Final = 4096
_READ_BUFFER: Final = 2048
_PAGE: Final = {
    "index.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "gateway.js": "text/javascript",
}
_GUARDS: Final = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    # Nothing but these files runs in it, wherever its text comes from; a drained node's clients go to another one.
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
_SEND_BUFFER: Final = 32 * 1024
"""The kernel would hide a client that doesn't read behind megabytes."""
_LOGGER: Final = logging.LoggerAdapter(logging.getLogger("picows.gateway.clients"))
"""Of a plain logger picows makes a child for each connection."""
_JSON: Final = {"Content-Type": "application/json"}

Stats = Callable[[], dict[str, object]]


def token_of(user: str, secret: bytes) -> str:
    """Return the token by which a user is known to be who they say."""
    return hmac.new(secret, user.encode(), hashlib.sha256).hexdigest()


class Reception:
    """Takes clients in. With a `user_secret` they have to show the token that `token_of` makes with it."""

    def __init__(
        self, node: str, hub: Hub, courier: Courier, *, remember: int, user_secret: bytes = b"", stats: Stats
    ) -> None:
        self.hub = hub
        self.courier = courier
        self.connections: set[Connection] = set()
        self.sessions: dict[str, Connection] = {}
        self.port = 0
        self._node = node
        self._remember = remember
        self._user_secret = user_secret
        self._stats = stats
        self._run = secrets.token_hex(6)
        self._numbers = itertools.count(1 << 16)
        self._timers: set[asyncio.TimerHandle] = set()
        self._unflushed: list[Connection] = []
        self._flush_tick = Tick(self._flush)
        self._page = {
            b"/" + name.encode().replace(b"index.html", b""): _resource(name, kind) for name, kind in _PAGE.items()
        }

    @contextlib.asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[None]:
        """Take clients on this address while the body runs; `port` tells which one it is."""
        server = await ws_create_server(
            self._answer,
            host,
            port,
            backlog=BACKLOG,
            max_frame_size=MAX_FRAME,
            enable_auto_pong=False,  # a client that doesn't read would have pongs pile up
            read_buffer_init_size=_READ_BUFFER,
            logger_name=_LOGGER,
        )
        for sock in server.sockets:  # what is accepted inherits it
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self.port = server.sockets[0].getsockname()[1]
        try:
            async with beside(self._look_for_ever(), name=f"gateway clients of {self._node}"):
                yield
        finally:
            server.close()
            for connection in tuple(self.connections):
                connection.close(1001, "the node ends")
                connection.hang_up()
            for timer in self._timers:
                timer.cancel()
            self._flush_tick.cancel()
            await server.wait_closed()

    def arrived(self, connection: Connection) -> None:
        """Count a connection in."""
        self.connections.add(connection)

    def register(self, connection: Connection, hello: Hello) -> Welcome | None:
        """Begin a session, and end an older one of that user here; None if the token isn't the user's."""
        if self._user_secret and not hmac.compare_digest(hello.token, token_of(hello.user, self._user_secret)):
            return None
        if older := self.sessions.get(hello.user):
            older.evict()
        session = Session(f"{self._run}{next(self._numbers):x}", hello.user, time.time_ns() // 1_000_000)
        connection.session = session
        self.sessions[hello.user] = connection
        return Welcome(self._node, hello.user, session.id, self._remember)

    def leaving(self, connection: Connection) -> None:
        """End the session of a connection that is being closed."""
        if self.sessions.get(connection.session.user) is connection:
            del self.sessions[connection.session.user]

    def gone(self, connection: Connection) -> None:
        """Count a connection out."""
        self.leaving(connection)
        self.connections.discard(connection)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do something after a while, unless the reception is closed by then."""

        def run() -> None:
            self._timers.discard(timer)
            work()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)

    def flush_soon(self, connection: Connection) -> None:
        """Call its `flush` at the end of this tick."""
        self._unflushed.append(connection)
        self._flush_tick.ask()

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()

    def _answer(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener | None:
        path = request.path.partition(b"?")[0]
        if path == b"/ws":
            return refusal(request) or Connection(self, proxied="Via" in request.headers)
        if path == b"/stats":
            return _ok(msgspec.json.encode(self._stats()), _JSON)
        if path in self._page:
            return _ok(*self._page[path])
        return None

    async def _look_for_ever(self) -> None:
        """One timer for all clients."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            self.courier.look(now)
            self.hub.look(now)
            for connection in tuple(self.connections):
                connection.look(now)


def _resource(name: str, kind: str) -> tuple[bytes, dict[str, str]]:
    """Return a file of the page, and its headers."""
    body = (files("examples.gateway") / "page" / name).read_bytes()
    return body, {"Content-Type": f"{kind}; charset=utf-8", **_GUARDS}


def _ok(body: bytes, headers: dict[str, str]) -> WSUpgradeResponseWithListener:
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(body, headers), None)
