"""Daemons beside gateways that are called by hooks, on real etcds."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from clusterd.testing import AgentProcess, EtcdBinary, EtcdServer, newest_etcd

LISTEN = ("--control", "127.0.0.1:0", "--probes", "127.0.0.1:0")


class HookedGateway:
    """A gateway with so many sessions, and hooks to count and to close them.

    `manner` is how its drain hook behaves: `close` does as it is told, `fail` answers 500, `refuse` 403, `hang` never
    answers, `lie` says that it did.
    """

    def __init__(self, sessions: int) -> None:
        self.sessions = sessions
        self.manner = "close"
        self.count_manner = "count"
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.asked_at: list[float] = []
        self.url = ""

    async def serve(self, stack: AsyncExitStack) -> None:
        app = web.Application()
        app.router.add_post("/drain", self._drain)
        app.router.add_get("/sessions", self._count)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _drain(self, request: web.Request) -> web.Response:
        eviction = await request.json()
        self.asked.append(eviction)
        self.headers.append(dict(request.headers))
        self.asked_at.append(time.monotonic())
        if self.manner == "hang":
            await asyncio.Event().wait()
        if self.manner in ("fail", "refuse"):
            return web.Response(status={"fail": 500, "refuse": 403}[self.manner])
        if self.manner == "close":
            self.sessions -= self.sessions if eviction["close"] is None else min(eviction["close"], self.sessions)
        return web.json_response({"left": self.sessions})

    async def _count(self, _: web.Request) -> web.Response:
        if self.count_manner == "fail":
            return web.Response(status=500)
        return web.json_response({"sessions": self.sessions})


class Daemon:
    """`clusterd run` as a process, and what it serves."""

    def __init__(self, process: AgentProcess, control: str, probes: str, http: aiohttp.ClientSession) -> None:
        self.process = process
        self.control = control
        self.probes = probes
        self._http = http

    async def get(self, path: str) -> Any:
        async with self._http.get(f"{self.control}{path}") as response:
            return json.loads(await response.read())

    async def call(self, method: str, path: str, document: Any = None) -> int:
        async with self._http.request(method, f"{self.control}{path}", json=document) as response:
            await response.read()
            return response.status

    async def metrics(self, accept: str = "") -> tuple[str, str]:
        async with self._http.get(f"{self.probes}/metrics", headers={"Accept": accept}) as response:
            assert response.status == 200
            return await response.text(), response.headers["Content-Type"]

    async def value(self, name: str, **labels: str) -> float | None:
        """The value of one sample, None where there is none."""
        text, _ = await self.metrics()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None


class Yard:
    """Starts gateways and daemons."""

    def __init__(self, etcd: EtcdServer, stack: AsyncExitStack, http: aiohttp.ClientSession) -> None:
        self.etcd = etcd
        self._stack = stack
        self._http = http

    async def gateway(self, sessions: int) -> HookedGateway:
        gateway = HookedGateway(sessions)
        await gateway.serve(self._stack)
        return gateway

    async def daemon(self, *arguments: str, node: str = "gw-1", **options: Any) -> Daemon:
        needed = ("--node", node, "--address", "127.0.0.1:8080", "--etcd", self.etcd.endpoint, "--ttl", "2")
        process = AgentProcess(*needed, *LISTEN, *arguments, **options)
        await self._stack.enter_async_context(process)
        control = (await process.wait_for_line(r"^control (\S+)", 30))[1]
        probes = (await process.wait_for_line(r"^probes (\S+)", 30))[1]
        await process.wait_for_line("is registered at", 30)
        return Daemon(process, control.rstrip("/"), probes.rstrip("/"), self._http)

    async def hooked(self, gateway: HookedGateway, *arguments: str, **options: Any) -> Daemon:
        hooks = ("--drain-hook", f"{gateway.url}/drain", "--sessions-hook", f"{gateway.url}/sessions")
        return await self.daemon(*hooks, *arguments, **options)


@pytest.fixture(scope="session")
def clusterd_etcd_binary() -> EtcdBinary:
    """The newest etcd: what a daemon asks of etcd is what membership asks of every version."""
    return newest_etcd()


@pytest.fixture
async def yard(etcd: EtcdServer) -> AsyncIterator[Yard]:
    """Gateways and daemons on a fresh etcd of one member."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Yard(etcd, stack, http)
