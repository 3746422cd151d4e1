"""A fleet of gateways as processes on a real etcd, clients on real sockets, and a ledger of what they say and get."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from clusterd.etcd.process import free_ports
from clusterd.testing import AgentProcess, EtcdBinary, EtcdServer, TcpProxy, eventually, newest_etcd
from examples.gateway.client import GatewayClient
from examples.gateway.ledger import Ledger
from examples.gateway.traffic import Crowd, Person
from tests.redis_process import running_redis

ROOT = Path(__file__).parents[3]
GATEWAY = (sys.executable, "-m", "examples.gateway", "node")
TTL = 2


class Town:
    """Gateways, people, and what befalls them."""

    def __init__(self, etcd: EtcdServer, directory: Path, stack: AsyncExitStack, log: str = "") -> None:
        self.etcd = etcd
        self.ledger = Ledger()
        self.nodes: dict[str, AgentProcess] = {}
        self.people: dict[str, Person] = {}
        self._ports: dict[str, tuple[int, int]] = {}
        self._directory = directory
        self._stack = stack
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []
        self._secret = directory / "secret"
        self._secret.write_text("correct horse battery staple")

    @property
    def urls(self) -> list[str]:
        return [f"ws://127.0.0.1:{clients}/ws" for clients, _ in self._ports.values()]

    def url(self, node: str) -> str:
        return f"ws://127.0.0.1:{self._ports[node][0]}/ws"

    def ports(self, node: str) -> tuple[int, int]:
        """Return the ports of a node, for clients and for links: always the same."""
        if node not in self._ports:
            clients, links = free_ports(2)
            self._ports[node] = (clients, links)
        return self._ports[node]

    def process(self, node: str, *flags: str) -> AgentProcess:
        """Make a gateway's process, on the ports and with the log that the node always has."""
        clients, links = self.ports(node)
        return AgentProcess(
            *("--node", node, "--etcd", self.etcd.endpoint, "--ttl", str(TTL), "--secret-file", str(self._secret)),
            *("--port", str(clients), "--link-port", str(links), "--within", "0.5", "--fsync", "never"),
            *("--log", self._log or str(self._directory / f"{node}.db")),
            *flags,
            command=GATEWAY,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    async def start(self, *nodes: str, flags: Sequence[str] = ()) -> None:
        """Start gateways, and wait until all have links to all."""
        for node in nodes:
            self.nodes[node] = await self._stack.enter_async_context(self.process(node, *flags))
        await self.linked()

    async def start_behind_proxy(self, node: str) -> TcpProxy:
        """Start a gateway whose links from others go through a proxy."""
        _, links = self.ports(node)
        proxy = await self._stack.enter_async_context(TcpProxy(f"127.0.0.1:{links}"))
        process = self.process(node, "--advertise-link", proxy.endpoint)
        self.nodes[node] = await self._stack.enter_async_context(process)
        return proxy

    async def linked(self) -> None:
        """Wait until all gateways have links to all."""
        for process in self.nodes.values():
            await process.wait_for_line("takes clients at")
        await eventually(self._all_linked, what="links between all nodes")

    async def _all_linked(self) -> bool:
        try:
            stats = [await self.stats(node) for node in self.nodes]
        except aiohttp.ClientError:  # it has just been started
            return False
        return all(set(each["links"]) == set(self.nodes) and each["gate"] == "open" for each in stats)

    async def stats(self, node: str) -> dict[str, Any]:
        clients, _ = self._ports[node]
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{clients}/stats") as got:
            found: dict[str, Any] = await got.json()
            return found

    async def person(self, name: str, *rooms: str, at: str = "") -> Person:
        """Bring a person in, at any node or at that one, and wait until it is in its rooms."""
        client = GatewayClient([self.url(at)] if at else self.urls, name, rooms=rooms)
        await self._stack.enter_async_context(client)
        person = self.people[name] = Person(client, self.ledger)
        self.task(person.listen(), f"{name} listens")
        await eventually(lambda: client.node and all(map(client.in_room, rooms)), what=f"{name} in {rooms}")
        return person

    def task(self, work: Any, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        return task

    async def balances(self, timeout: float = 20.0) -> None:
        """Wait until everything has come, and hold that nothing came twice, or to somebody else."""
        ledger = self.ledger
        await eventually(lambda: not ledger.lost, timeout, what=f"all messages; lost now: {len(ledger.lost)}")
        assert not ledger.duplicated
        assert not ledger.misdelivered

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        errors = [error for error in ended if isinstance(error, Exception)]
        assert not errors, errors


class Traffic:
    """Chatter around the body of `async with`; at its end all is waited for, and the ledger has to balance."""

    def __init__(self, town: Town, room: str = "square") -> None:
        self._town = town
        self._room = room
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Ledger:
        crowd = Crowd(self._town.ledger, self._town.people, self._room)
        self._task = self._town.task(crowd.chatter(self._stop, 0.01), "chatter")
        await self.flows(50)
        return self._town.ledger

    async def flows(self, more: int = 50) -> None:
        """Wait until so many more messages were stored."""
        goal = self._town.ledger.stored + more
        await eventually(lambda: self._town.ledger.stored >= goal, what="traffic that flows")

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        await self.flows()
        self._stop.set()
        async with asyncio.timeout(30):
            await self._task
        await self._town.balances()


@pytest.fixture(scope="session")
def clusterd_etcd_binary() -> EtcdBinary:
    """The newest etcd: what a gateway asks of etcd is asked of every version elsewhere."""
    return newest_etcd()


@pytest.fixture
async def town(etcd: EtcdServer, tmp_path: Path) -> AsyncIterator[Town]:
    """Gateways with logs of their own."""
    async with AsyncExitStack() as stack:
        town = Town(etcd, tmp_path, stack)
        yield town
        await town.close()


@pytest.fixture
async def redis_url(tmp_path: Path) -> AsyncIterator[str]:
    """A Redis of its own."""
    (port,) = free_ports(1)
    async with running_redis(tmp_path, "--port", str(port), "--bind", "127.0.0.1", at=("127.0.0.1", port)):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
async def redis_town(etcd: EtcdServer, tmp_path: Path, redis_url: str) -> AsyncIterator[Town]:
    """Gateways with one log for all."""
    async with AsyncExitStack() as stack:
        town = Town(etcd, tmp_path, stack, redis_url)
        yield town
        await town.close()
