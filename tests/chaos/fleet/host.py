"""The driver's hand on one worker process: its agents, its network, its life."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from clusterd.child import Child
from clusterd.testing import Recorder, TcpProxy

_END_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Site:
    """Where workers find etcd, and where they record what they see."""

    endpoints: Sequence[str]
    cacert: Path
    ttl: int
    directory: Path


class Host:
    """A worker process with some agents; an async context manager. `proxied` puts a network of its own before it."""

    def __init__(self, name: str, nodes: Sequence[str], site: Site, recorder: Recorder, *, proxied: bool) -> None:
        self.name = name
        self.nodes = tuple(nodes)
        self.wanted = set(nodes)
        self.history = site.directory / f"{name}.jsonl"
        self.log = site.directory / f"{name}.log"
        self.proxies = [TcpProxy(endpoint) for endpoint in site.endpoints] if proxied else []
        self.busy = False
        self._site = site
        self._recorder = recorder
        self._child: Child | None = None
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Start the process, with the agents that are wanted."""
        endpoints = [proxy.endpoint for proxy in self.proxies] or self._site.endpoints
        command = (sys.executable, "-m", "tests.chaos.fleet.worker", "--etcd", ",".join(endpoints))
        more = ("--cacert", str(self._site.cacert), "--ttl", str(self._site.ttl), str(self.history))
        pipe = asyncio.subprocess.PIPE
        with self.log.open("ab") as log:
            self._child = await Child.spawn([*command, *more], stdin=pipe, stdout=pipe, stderr=log)
        self.tell()

    def tell(self) -> None:
        """Tell the process which agents there are to be."""
        self._send({"do": "host", "nodes": sorted(self.wanted), "busy": self.busy})

    async def report(self, *, routes: bool = False) -> dict[str, Any]:
        """Return what the process says of its agents and of itself."""
        child = self._running()
        assert child.stdout is not None
        self._send({"do": "report", "routes": routes})
        answer: dict[str, Any] = json.loads(await child.stdout.readline())
        return answer

    async def kill(self) -> None:
        """SIGKILL: from now on it can have done nothing."""
        await self._running().kill()
        self._recorder.note("killed", self.name, nodes=sorted(self.wanted))

    def pause(self) -> None:
        """SIGSTOP."""
        self._running().pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._running().resume()

    async def end(self) -> int:
        """Close its standard input, so that it ends by itself; return the exit code."""
        child = self._running()
        assert child.stdin is not None
        child.stdin.close()
        async with asyncio.timeout(_END_SECONDS):
            return await child.wait()

    def cause(self, since: float, *, nodes: Sequence[str] = ()) -> None:
        """Record why nodes of this host may have left the topologies between then and now."""
        for node in nodes or self.nodes:
            self._recorder.note("cause", node, since=since, until=time.monotonic())

    async def __aenter__(self) -> Self:
        for proxy in self.proxies:
            await self._stack.enter_async_context(proxy)
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._child is not None:
            await self._child.kill()
            if self._child.stdin is not None:
                self._child.stdin.close()
        await self._stack.aclose()

    def _send(self, command: dict[str, Any]) -> None:
        child = self._running()
        assert child.stdin is not None
        if child.running:
            child.stdin.write(json.dumps(command).encode() + b"\n")

    def _running(self) -> Child:
        assert self._child is not None
        return self._child
