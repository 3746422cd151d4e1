"""A fleet of small nodes and the router before them, all as processes, on a real etcd."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import msgspec
import pytest

from clusterd.testing import AgentProcess, EtcdServer, eventually

NODE = (sys.executable, "-m", "examples.router.node")
ROUTER = (sys.executable, "-m", "examples.router")


class Front:
    """The router and the nodes behind it."""

    def __init__(self, etcd: EtcdServer, session: aiohttp.ClientSession, stack: AsyncExitStack) -> None:
        self.etcd = etcd
        self.session = session
        self.nodes: dict[str, AgentProcess] = {}
        self.router: AgentProcess
        self.url = ""
        self.ttl = "5"
        self.probes = ""
        self._stack = stack

    async def node(self, name: str, *options: str) -> AgentProcess:
        """Start a node, also again after its end."""
        process = AgentProcess(name, "--etcd", self.etcd.endpoint, "--ttl", self.ttl, *options, command=NODE)
        self.nodes[name] = await self._stack.enter_async_context(process)
        await process.wait_for_line(r"is at", timeout=40)
        return process

    async def open(self, *options: str) -> None:
        """Start the router."""
        where = ("--listen", "127.0.0.1:0", "--probes", "127.0.0.1:0")
        process = AgentProcess(*where, "--etcd", self.etcd.endpoint, "--ttl", self.ttl, *options, command=ROUTER)
        self.router = await self._stack.enter_async_context(process)
        self.url = (await process.wait_for_line(r"listening on (\S+),", timeout=40))[1]
        self.probes = (await process.wait_for_line(r"probes on (\S+)"))[1]

    async def start(self, nodes: int, *options: str) -> None:
        """Start that many nodes, then the router, which sees them all."""
        await asyncio.gather(*(self.node(f"gw-{number + 1}") for number in range(nodes)), self.open(*options))
        await eventually(lambda: self.sees(*self.nodes))

    async def look(self) -> dict[str, Any]:
        """Return what the router knows of the nodes."""
        async with self.session.get(f"{self.probes}/nodes") as answer:
            nodes: dict[str, Any] = (await answer.json())["nodes"]
            return nodes

    async def sees(self, *names: str) -> bool:
        """Whether these nodes are active, and no others."""
        return {name for name, node in (await self.look()).items() if node["state"] == "active"} == set(names)

    async def get(self, path: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
        """Return the status and the body of an answer."""
        async with self.session.request(method, self.url + path, **options) as answer:
            return answer.status, msgspec.json.decode(await answer.read())

    def socket(self, path: str = "/ws", **options: Any) -> Any:
        """Open a WebSocket through the router."""
        return self.session.ws_connect(self.url + path, max_msg_size=1 << 26, **options)


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    """A router and nodes, to be started."""
    async with EtcdServer() as etcd, aiohttp.ClientSession() as session, AsyncExitStack() as stack:
        yield Front(etcd, session, stack)
