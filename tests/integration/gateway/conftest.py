"""A message log of each kind; gateways in this process, and clients that say what they like."""

from __future__ import annotations

import asyncio
import itertools
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from clusterd.child import Child
from clusterd.testing import EtcdBinary, EtcdServer, eventually, newest_etcd
from examples.gateway.client import GatewayClient
from examples.gateway.log import Limits, MessageLog
from examples.gateway.log.redis import RedisLog
from examples.gateway.log.sqlite import SqliteLog
from examples.gateway.node import Gateway, Settings
from tests.integration.gateway.peer import Peer
from tests.redis_process import running_redis

TTL = 2
LIMITS = Limits(mailbox=10, room=70, page=4)
_users = (f"user-{number}" for number in itertools.count())


@pytest.fixture(params=["sqlite", "redis"])
async def messages(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MessageLog]:
    """An empty log with small limits: in a file, and in a Redis of its own."""
    if request.param == "sqlite":
        log: MessageLog = SqliteLog(tmp_path / "log.db", fsync="never", limits=LIMITS)
        yield log
        await log.close()
        return
    path = str(tmp_path / "redis.sock")
    async with running_redis(tmp_path, "--port", "0", "--unixsocket", path, at=path):
        log = RedisLog(f"unix://{path}", limits=LIMITS, timeout=20)
        yield log
        await log.close()


class Yard:
    """Gateways in this process, and raw clients."""

    def __init__(self, etcd: EtcdServer, directory: Path, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.etcd = etcd
        self._directory = directory

    async def gateway(self, node: str = "gw-1", limits: Limits | None = None, **settings: Any) -> Gateway:
        """Start a gateway."""
        given = Settings(node, self.etcd.endpoint, **{"secret": b"correct horse battery", "ttl": TTL, **settings})
        log = SqliteLog(self._directory / f"{node}.db", fsync="never", limits=limits)
        return await self.stack.enter_async_context(Gateway(given, log))

    async def pair(self, **settings: Any) -> tuple[Gateway, Gateway]:
        """Start two gateways that have links to each other."""
        one, other = await self.gateway("gw-1", **settings), await self.gateway("gw-2", **settings)
        await eventually(lambda: linked(one, other) and one.gate.open and other.gate.open, what="links")
        return one, other

    async def socket(self, gateway: Gateway, user: str = "", **hello: Any) -> Socket:
        """Connect a raw client, and say hello for it if it has a name."""
        http = await self.stack.enter_async_context(aiohttp.ClientSession())
        socket = Socket(await self.stack.enter_async_context(http.ws_connect(url_of(gateway), autoping=False)))
        if user:
            await socket.say(t="hello", user=user, **hello)
            assert (await socket.hear())["t"] == "welcome"
        return socket

    async def client(self, gateway: Gateway, user: str, *rooms: str, token: str = "") -> GatewayClient:
        """Connect a client, and wait until it is in its rooms."""
        client = GatewayClient([url_of(gateway)], user, rooms=rooms, token=token)
        await self.stack.enter_async_context(client)
        await eventually(lambda: client.node and all(map(client.in_room, rooms)), what=f"{user} in {rooms}")
        return client


class Socket:
    """A raw client: says and hears frames."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.raw = socket

    @property
    def transport(self) -> Any:
        return self.raw._writer.transport

    def send_raw(self, head: int, payload: bytes) -> None:
        """Send a frame with this first byte, masked with zeros."""
        self.transport.write(bytes((head, 0x80 | len(payload), 0, 0, 0, 0)) + payload)

    async def say(self, **frame: Any) -> None:
        await self.raw.send_json(frame)

    async def hear(self, *kinds: str) -> dict[str, Any]:
        """Return the next frame, of one of these kinds if any are given."""
        while True:
            async with asyncio.timeout(10):
                frame: dict[str, Any] = await self.raw.receive_json()
            if not kinds or frame["t"] in kinds:
                return frame

    async def closed(self) -> int | None:
        """Wait until it is closed, and return the code."""
        async with asyncio.timeout(10):
            while not self.raw.closed:
                await self.raw.receive()
        return self.raw.close_code


def url_of(gateway: Gateway) -> str:
    return f"ws://127.0.0.1:{gateway.reception.port}/ws"


def linked(one: Gateway, other: Gateway) -> bool:
    return other.settings.node in one.fleet.lines and one.settings.node in other.fleet.lines


@pytest.fixture(scope="session")
def clusterd_etcd_binary() -> EtcdBinary:
    """The newest etcd: what a gateway asks of etcd is asked of every version elsewhere."""
    return newest_etcd()


@pytest.fixture
async def yard(etcd: EtcdServer, tmp_path: Path) -> AsyncIterator[Yard]:
    """Gateways and clients on a fresh etcd."""
    async with AsyncExitStack() as stack:
        yield Yard(etcd, tmp_path, stack)


@asynccontextmanager
async def node(directory: Path) -> AsyncIterator[int]:
    """Run a node as a process of its own, and yield its port."""
    (directory / "secret").write_text("correct horse battery staple")
    log = directory / "log"
    async with EtcdServer() as etcd:
        command = (sys.executable, "-m", "examples.gateway", "node", "--node", "gw-1", "--etcd", etcd.endpoint)
        flags = ("--secret-file", str(directory / "secret"), "--log", str(directory / "db"), "--fsync", "never")
        with log.open("wb") as out:
            process = await Child.spawn((*command, *flags), stdout=out, stderr=out)
        try:
            await eventually(lambda: port_in(log), what="a node that takes clients")
            yield port_in(log)
        finally:
            await process.kill()


def port_in(log: Path) -> int:
    found = re.search(r"takes clients at http://127\.0\.0\.1:(\d+)/", log.read_text())
    return int(found[1]) if found else 0


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A node for all that is asked here."""
    with asyncio.Runner() as runner:
        running = node(tmp_path_factory.mktemp("gateway"))
        yield runner.run(running.__aenter__())
        runner.run(running.__aexit__(None, None, None))


@pytest.fixture
def peer(port: int) -> Iterator[Peer]:
    """A client that has said hello."""
    with Peer(port) as peer:
        yield peer.upgrade(next(_users))


@pytest.fixture
def stranger(port: int) -> Iterator[Peer]:
    """A client that has said nothing yet."""
    with Peer(port) as peer:
        yield peer
