"""A fleet of agents in this process and in others, and a record of what each of them routes by."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from clusterd import Agent, Change, Changes
from clusterd.testing import AgentProcess, EtcdServer, eventually
from tests.integration.routing.recorder import Line

TTL = 3
_RECORDER = Path(__file__).with_name("recorder.py")


class Observer:
    """An agent in this process that keeps every change it sees, and what it routed by after each."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.changes: list[Change] = []
        self.lines = [Line.of(agent.topology)]
        self._reader = asyncio.create_task(self._read(agent.changes()), name=f"observer {agent.node.id}")

    async def close(self) -> None:
        """Stop observing."""
        self._reader.cancel()
        await asyncio.wait([self._reader])

    async def _read(self, changes: Changes) -> None:
        async for change in changes:
            self.changes.append(change)
            self.lines.append(Line.of(change.after))


class Remote:
    """An agent in a process of its own that writes what it routes by; it can be killed."""

    def __init__(self, process: AgentProcess) -> None:
        self.process = process
        self.gone = False

    @property
    def lines(self) -> list[Line]:
        """What it wrote so far; also of one that was killed, perhaps in the middle of a line."""
        return [Line(*json.loads(line)) for line in self.process.stdout if line.endswith("]")]

    async def kill(self) -> None:
        """SIGKILL: it can't say goodbye."""
        self.gone = True
        await self.process.kill()

    async def leave(self) -> None:
        """SIGTERM: it withdraws, and the fleet knows at once."""
        self.gone = True
        assert await self.process.terminate() == 0


class Fleet:
    """Starts agents on one etcd, and compares what they tell."""

    def __init__(self, etcd: EtcdServer, stack: AsyncExitStack) -> None:
        self.observers: list[Observer] = []
        self.remotes: list[Remote] = []
        self._etcd = etcd
        self._stack = stack

    async def observer(self, node: str, **options: object) -> Observer:
        """Start an agent in this process."""
        agent = Agent(node, "10.0.0.1:8080", etcd=self._etcd.endpoint, ttl=TTL, **options)  # type: ignore[arg-type]
        observer = Observer(await self._stack.enter_async_context(agent))
        self._stack.push_async_callback(observer.close)
        self.observers.append(observer)
        return observer

    async def remote(self, *nodes: str) -> list[Remote]:
        """Start agents in processes of their own, all at once; return when each has told its first topology."""
        return list(await asyncio.gather(*map(self._remote, nodes)))

    async def sees(self, *nodes: str) -> None:
        """Wait until every agent in this process sees exactly these nodes."""
        await eventually(lambda: all(one.agent.topology.nodes.keys() == set(nodes) for one in self.observers))

    async def settles(self, revision: int = 0) -> Line:
        """Wait until all living agents have told of the newest topology, one of at least this revision.

        Return what all of them say of it.
        """
        agents = [*self.observers, *(remote for remote in self.remotes if not remote.gone)]
        newest = max(revision, *(observer.agent.topology.revision for observer in self.observers))

        def told() -> bool:
            last = [agent.lines[-1] for agent in agents]
            return all(line.confirmed and line.revision >= newest for line in last) and len({*_places(last)}) == 1

        await eventually(told, what=f"all tell of revision {newest} or a later one")
        finals = {agent.lines[-1] for agent in agents}
        assert len(finals) == 1, finals
        return finals.pop()

    def verdicts(self) -> dict[tuple[int, int], list[str]]:
        """Return by cluster id and revision what each agent said of it, those that are gone included.

        Left out is what rests on nodes kept unconfirmed: for one TTL after an outage agents may differ in those.
        """
        found: dict[tuple[int, int], list[str]] = defaultdict(list)
        for agent in (*self.observers, *self.remotes):
            confirmed = {line for line in agent.lines if line.confirmed}
            for place, line in zip(_places(confirmed), confirmed, strict=True):
                found[place].append(line.digest)
        return found

    async def _remote(self, node: str) -> Remote:
        command = (sys.executable, str(_RECORDER))
        process = AgentProcess(node, self._etcd.endpoint, str(TTL), command=command)
        remote = Remote(await self._stack.enter_async_context(process))
        await process.wait_for_line(r"^\[.*\]$", timeout=30)
        self.remotes.append(remote)
        return remote


def _places(lines: Iterable[Line]) -> list[tuple[int, int]]:
    return [(line.cluster_id, line.revision) for line in lines]


@pytest.fixture
async def fleet(etcd: EtcdServer) -> AsyncIterator[Fleet]:
    """Agents on a fresh etcd of one member."""
    async with AsyncExitStack() as stack:
        yield Fleet(etcd, stack)
