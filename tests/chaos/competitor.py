"""A candidate's process together with its own network, to be paused, killed, and cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from clusterd.testing import AgentProcess, TcpProxy
from tests.chaos.history import History, TermSpan, Write

NEVER = float("inf")


@dataclass(slots=True)
class _Run:
    """One process, and the time from which on it can't have done anything."""

    process: AgentProcess
    ended: float = NEVER


class Competitor:
    """Runs `tests.chaos.candidate`, each time it is started as a new process; an async context manager."""

    def __init__(self, name: str, endpoints: Sequence[str], *flags: str, ttl: int) -> None:
        self.name = name
        self._flags = ("--id", name, "--ttl", str(ttl), *flags)
        self._proxies = [TcpProxy(endpoint) for endpoint in endpoints]
        self._stack = contextlib.AsyncExitStack()
        self._runs: list[_Run] = []
        self._busy = asyncio.Lock()

    @property
    def process(self) -> AgentProcess:
        """The process that runs, or ran last."""
        return self._runs[-1].process

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the present process said so far."""
        return [json.loads(line) for line in self.process.stdout]

    async def start(self) -> None:
        """Start a process, unless one runs."""
        async with self._busy:
            if self._runs and self._runs[-1].process.running:
                return
            etcd = ",".join(proxy.endpoint for proxy in self._proxies)
            command = (sys.executable, "-m", "tests.chaos.candidate", "--etcd", etcd)
            process = AgentProcess(*self._flags, command=command)
            await process.start()
            self._runs.append(_Run(process))

    async def kill(self) -> None:
        """SIGKILL the process."""
        async with self._busy:
            run = self._runs[-1]
            await run.process.kill()
            run.ended = time.monotonic()

    async def pause(self, seconds: float) -> None:
        """SIGSTOP the process for that long."""
        async with self._busy:
            if self.process.running:
                self.process.pause()
                await asyncio.sleep(seconds)
                self.process.resume()

    async def cut_off(self, seconds: float) -> None:
        """Let no byte pass between the process and etcd for that long."""
        for proxy in self._proxies:
            proxy.drop()
        await asyncio.sleep(seconds)
        for proxy in self._proxies:
            await proxy.heal()

    def testify(self, history: History) -> None:
        """Add what all the processes said to a history."""
        for run in self._runs:
            self._read(run, history)

    def _read(self, run: _Run, history: History) -> None:
        begun: dict[str, Any] | None = None
        for line in run.process.stdout:
            event = json.loads(line)
            match event["kind"]:
                case "begin":
                    begun = event
                case "write":
                    history.writes.append(Write(event["text"], event["fence"], event["outcome"]))
                case "end" if begun:
                    history.terms.append(self._term(begun, event["at"], event["reason"]))
                    begun = None
        if begun:
            history.terms.append(self._term(begun, run.ended, "its process was killed"))

    def _term(self, begun: dict[str, Any], end: float, reason: str) -> TermSpan:
        return TermSpan(self.name, begun["fence"], begun["at"], end, reason or "its reign was over")

    async def __aenter__(self) -> Self:
        for proxy in self._proxies:
            await self._stack.enter_async_context(proxy)
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for run in self._runs:
            await run.process.kill()
        await self._stack.aclose()
