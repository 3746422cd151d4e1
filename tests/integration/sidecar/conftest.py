"""Daemons as processes on a real etcd, and gateways in no particular language that talk HTTP to them."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from clusterd.node import Node, encode_node
from clusterd.testing import AgentProcess, EtcdBinary, EtcdServer, newest_etcd

TTL = 2
START_SECONDS = 30.0  # a process starts slowly where many do


@dataclass(frozen=True)
class Answer:
    """What a request was answered."""

    status: int
    headers: Any
    body: Any


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    name: str
    data: Any
    id: str


class Events:
    """A stream of events, read one after the other; comments are counted."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.comments = 0
        self.last_id = ""

    async def next(self, *names: str, timeout: float = 10.0) -> Event:
        """Return the next event of one of these names, or of any; others are passed over."""
        async with asyncio.timeout(timeout):
            while True:
                event = await self._read()
                assert event is not None, "the stream ended"
                if not names or event.name in names:
                    return event

    async def ended(self, timeout: float = 10.0) -> list[Event]:
        """Wait for the end of the stream; return what came before."""
        events: list[Event] = []
        async with asyncio.timeout(timeout):
            while (event := await self._read()) is not None:
                events.append(event)
        return events

    async def _read(self) -> Event | None:
        fields: dict[str, str] = {}
        async for raw in self._response.content:
            line = raw.decode().rstrip("\n")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                self.last_id = fields.get("id", self.last_id)
                return Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
        return None


class Client:
    """Asks one listener."""

    def __init__(self, url: str, **session: Any) -> None:
        self.url = url
        path = url.removeprefix("unix:")
        connector = aiohttp.UnixConnector(path, limit=0) if path != url else aiohttp.TCPConnector(limit=0)
        self._base = "http://localhost" if path != url else url
        self.session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20), **session)

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        async with self.session.request(method, self._base + path, **options) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return Answer(response.status, response.headers, json.loads(text) if is_json and text else text)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    @asynccontextmanager
    async def events(self, path: str, method: str = "GET", *, last: str | None = None, **options: Any) -> Any:
        headers = {"Last-Event-ID": last} if last is not None else {}
        options["timeout"] = aiohttp.ClientTimeout(total=None)
        async with self.session.request(method, self._base + path, headers=headers, **options) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "text/event-stream"
            yield Events(response)

    async def close(self) -> None:
        await self.session.close()


class Daemon:
    """`clusterd run` with both listeners, and clients for them."""

    def __init__(self, site: Site, process: AgentProcess) -> None:
        self.site = site
        self.process = process
        self.control: Client
        self.probes: Client

    async def connect(self, **session: Any) -> None:
        """Find out where it listens."""
        self.probes = Client((await self.process.wait_for_line(r"^probes (\S+)$", START_SECONDS))[1])
        self.control = Client((await self.process.wait_for_line(r"^control (\S+)$", START_SECONDS))[1], **session)

    async def registered(self) -> None:
        await self.process.wait_for_line("registered at", START_SECONDS)

    async def report(self, sessions: int) -> None:
        answer = await self.control.ask("PUT", "/v1/self/stats", json={"sessions": sessions})
        assert answer.status == 200, answer

    async def state(self) -> str:
        return str((await self.control.get("/v1/self")).body["node"]["state"])

    async def close(self) -> None:
        await self.probes.close()
        await self.control.close()


class Site:
    """Starts daemons, and changes what etcd has."""

    def __init__(self, etcd: EtcdServer, stack: AsyncExitStack) -> None:
        self.etcd = etcd
        self._stack = stack

    async def daemon(
        self, node: str = "gw-1", *more: str, wait: bool = True, etcd: str | None = None, **options: Any
    ) -> Daemon:
        listeners = ("--control", "127.0.0.1:0", "--probes", "127.0.0.1:0")
        flags = ("--node", node, "--address", "10.0.0.1:8080", "--etcd", etcd or self.etcd.endpoint, "--ttl", str(TTL))
        daemon = Daemon(self, await self._stack.enter_async_context(AgentProcess(*flags, *listeners, *more, **options)))
        await daemon.connect()
        self._stack.push_async_callback(daemon.close)
        if wait:
            await daemon.registered()
        return daemon

    async def put(self, node_id: str, **fields: Any) -> int:
        """Register a node by hand, for ever."""
        node = Node(id=node_id, address="10.0.0.9:8080", instance=node_id, **fields)
        return await self.etcd.admin.put(f"/nodes/{node_id}", encode_node(node))

    async def nodes(self) -> dict[str, int]:
        """Return what etcd has: the revision of each node's record."""
        keys = await self.etcd.admin.range("/nodes/")
        return {kv.key.decode().removeprefix("/nodes/"): kv.mod_revision for kv in keys}


class Follower:
    """Folds a stream of the fleet into nodes, as a gateway would: what it has must be what etcd has."""

    def __init__(self) -> None:
        self.nodes: dict[str, int] = {}
        self.seen: list[str] = []
        self.last_id = ""

    def take(self, event: Event) -> None:
        self.seen.append(event.name)
        self.last_id = event.id or self.last_id
        if event.name == "reset":
            self.nodes = {}
        elif event.name == "snapshot":
            self.nodes = {node["id"]: node["mod_revision"] for node in event.data["nodes"]}
        elif event.name == "change":
            came = [*event.data["joined"], *event.data["updated"]]
            self.nodes |= {node["id"]: node["mod_revision"] for node in came}
            for node_id in event.data["left"]:
                del self.nodes[node_id]

    async def follow(self, events: Events, site: Site) -> None:
        """Read until nothing is missing."""

        async def same() -> bool:
            return self.nodes == await site.nodes()

        while not await same():
            self.take(await events.next())


@pytest.fixture(scope="session")
def clusterd_etcd_binary() -> EtcdBinary:
    """The newest etcd: what is tested here is on this side of it."""
    return newest_etcd()


@pytest.fixture
async def site(etcd: EtcdServer) -> AsyncIterator[Site]:
    """Daemons on a fresh etcd."""
    async with AsyncExitStack() as stack:
        yield Site(etcd, stack)


@pytest.fixture
def follower() -> type[Follower]:
    return Follower


@pytest.fixture
def client_of() -> Any:
    """Make a client, to be closed by the test."""
    return Client


@pytest.fixture(scope="module")
def one_daemon() -> Iterator[str]:
    """The URL of a daemon's control listener, one for all tests of a module: they leave it as it was."""

    async def run() -> None:
        async with EtcdServer(binary=newest_etcd()) as etcd, AsyncExitStack() as stack:
            daemon = await Site(etcd, stack).daemon()
            loop_and_stop.extend((asyncio.get_running_loop(), asyncio.Event()))
            started.put(daemon.control.url)
            await loop_and_stop[1].wait()

    started: queue.Queue[str] = queue.Queue()
    loop_and_stop: list[Any] = []
    thread = threading.Thread(target=lambda: asyncio.run(run()), name="daemon for a module")
    thread.start()
    yield started.get(timeout=60)
    loop, stop = loop_and_stop
    loop.call_soon_threadsafe(stop.set)
    thread.join()
