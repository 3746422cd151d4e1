"""A process that hosts agents: joins and leaves as told on stdin, and records all that its agents see and do.

Commands are JSON documents, one a line. `{"do": "host", "nodes": [...], "busy": true}` says which agents there are to
be from now on, and whether they change their weights from time to time; `{"do": "report", "routes": true}` is answered
by a line on stdout. EOF ends it, its agents leave.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clusterd import TLS, Agent, AgentStopped, ClusterdError, Deposed, Drain, EtcdOptions, NodeState, Term
from clusterd.aio import run_together
from clusterd.etcd.errors import EtcdError
from clusterd.testing import Recorder
from clusterd.testing.recording import account
from tests.chaos.fleet.lag import watch_lag
from tests.chaos.fleet.names import ELECTIONS, PASSWORD, USER, register, tells_routes
from tests.chaos.writing import write

_SESSIONS = 20


class Hosting:
    """The agents of this process; each lives in a task of its own, and is started again where it fails."""

    def __init__(self, options: EtcdOptions, recorder: Recorder, ttl: int) -> None:
        self._options = options
        self._recorder = recorder
        self._ttl = ttl
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._agents: dict[str, Agent] = {}
        self.busy = False

    def host(self, nodes: list[str], *, busy: bool = False) -> None:
        """Have exactly these agents from now on."""
        self.busy = busy
        for node in self._lives.keys() - set(nodes):
            self._lives[node].cancel()
        for node in nodes:
            if node not in self._lives or self._lives[node].cancelling():
                self._begin(node)

    def nodes(self) -> list[str]:
        """Return the ids of the agents that are there, or come."""
        return list(self._lives)

    async def close(self) -> None:
        """Let all agents leave."""
        self.host([])
        if self._lives:
            await asyncio.wait(self._lives.values())

    def report(self, *, routes: bool) -> dict[str, Any]:
        """Return how the agents are, and what this process uses."""
        gc.collect()
        return {
            "agents": {
                node: {"session": agent.session.state.value, **account(agent.topology, routes=routes)}
                for node, agent in self._agents.items()
            },
            "tasks": sorted(task.get_name() for task in asyncio.all_tasks()),
            "files": len(list(Path("/proc/self/fd").iterdir())) - 1,
            "memory": _resident_bytes(),
        }

    def _begin(self, node: str) -> None:
        before = self._lives.get(node)
        task = asyncio.create_task(self._live(node, before), name=f"life of {node}")
        self._lives[node] = task
        task.add_done_callback(lambda ended: self._lives.pop(node) if self._lives.get(node) is ended else None)

    async def _live(self, node: str, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        while True:
            try:
                await self._live_once(node)
            except ClusterdError as error:
                self._recorder.note("ended", node, error=type(error).__name__, text=str(error))
            await asyncio.sleep(random.random())

    async def _live_once(self, node: str) -> None:
        agent = Agent(
            node, "10.0.0.1:8080", etcd=self._options, ttl=self._ttl, zone=f"z{zlib.crc32(node.encode()) % 3}"
        )
        gateway = Gateway(agent, lambda: self.busy)
        async with agent:
            self._recorder.note("started", node, instance=agent.node.instance)
            self._agents[node] = agent
            try:
                await run_together(
                    **{
                        f"record of {node}": self._recorder.follow(agent),
                        f"candidacies of {node}": self._stand_for_ever(agent),
                        f"gateway of {node}": gateway.run(),
                    }
                )
            finally:
                del self._agents[node]

    async def _stand_for_ever(self, agent: Agent) -> None:
        name = ELECTIONS.get(agent.node.id)
        while name is not None:
            try:
                await self._stand(agent, name)
            except AgentStopped:
                return
            except (Deposed, EtcdError) as error:
                self._recorder.note("deposed", agent.node.id, reason=str(error))
                await asyncio.sleep(0.1)

    async def _stand(self, agent: Agent, name: str) -> None:
        """Lead once. Winners settle for a whole TTL: then no two terms overlap, whatever hands do."""
        note, node = self._recorder.note, agent.node.id
        async with agent.election(name, settle=float(self._ttl)).lead() as term:
            note("begin", node, election=name, fence=term.fence)
            try:
                await self._reign(term, name, node)
            finally:
                now = time.monotonic()
                end = min(now, term.lost.deadline)
                note("end", node, election=name, fence=term.fence, end=end, reason=term.lost.reason)

    async def _reign(self, term: Term, name: str, node: str) -> None:
        until, number = time.monotonic() + random.uniform(1.0, 4.0), 0
        while time.monotonic() < until:
            number += 1
            text, outcome = f"{term.fence} {node} {number}", "unknown"
            try:
                outcome = await write(term, register(name), text)
            finally:
                self._recorder.note("write", node, election=name, fence=term.fence, text=text, outcome=outcome)
            await asyncio.sleep(0.1)


class Gateway:
    """What an agent is embedded in: sessions that come while it is active and move away in a drain; a weight."""

    def __init__(self, agent: Agent, busy: Callable[[], bool]) -> None:
        self._agent = agent
        self._busy = busy
        self._sessions = set(range(_SESSIONS))
        agent.sessions.count_with(lambda: len(self._sessions))
        agent.on_drain(self._evacuate)

    async def run(self) -> None:
        """Live on."""
        while True:
            await asyncio.sleep(random.uniform(0.5, 1.5))
            if self._agent.node.state is NodeState.ACTIVE:
                self._sessions.update(range(_SESSIONS))
            if self._busy() and random.random() < 0.015:
                await self._agent.update(weight=random.choice((50, 100, 200)))

    async def _evacuate(self, drain: Drain) -> None:
        async for batch in drain.batches(lambda: list(self._sessions)):
            self._sessions.difference_update(batch)


async def _obey(hosting: Hosting) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async for line in reader:
        command = json.loads(line)
        if command["do"] == "host":
            hosting.host(command["nodes"], busy=command["busy"])
        else:
            print(json.dumps(hosting.report(routes=command["routes"])), flush=True)
    await hosting.close()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--etcd", required=True)
    parser.add_argument("--cacert", type=Path, required=True)
    parser.add_argument("--ttl", type=int, required=True)
    parser.add_argument("history", type=Path)
    given = parser.parse_args()
    options = EtcdOptions(tuple(given.etcd.split(",")), user=USER, password=PASSWORD, tls=TLS(cacert=given.cacert))
    with Recorder(given.history, routes=tells_routes) as recorder:
        hosting = Hosting(options, recorder, given.ttl)
        lag = asyncio.create_task(watch_lag(recorder, hosting.nodes), name="lag")
        await _obey(hosting)
        lag.cancel()


if __name__ == "__main__":
    asyncio.run(main())
