"""Gateways with sessions on a real etcd, operators who drain them, and a witness of every state they show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from clusterd import Agent, Drain, DrainProgress
from clusterd.drain import Intent, make_cordon, make_drain
from clusterd.drain.operator import IntentView, place_intents, read_intent, read_statuses, withdraw_intent
from clusterd.etcd.client import Client
from clusterd.etcd.options import EtcdOptions
from clusterd.keys import Keyspace, range_end
from clusterd.node import decode_node
from clusterd.testing import EtcdBinary, EtcdServer, eventually, newest_etcd

TTL = 2
SETTLE = 0.3
KEYS = Keyspace()


class Gateway:
    """Holds sessions, and moves those that it is asked to move."""

    def __init__(self, agent: Agent, sessions: int) -> None:
        self.agent = agent
        self.sessions = set(range(sessions))
        self.moves: list[tuple[float, int]] = []
        self.drains: list[Drain] = []
        self.cancelled = 0
        agent.sessions.count_with(lambda: len(self.sessions))
        agent.on_drain(self.evacuate)

    async def evacuate(self, drain: Drain) -> None:
        self.drains.append(drain)
        try:
            async for batch in drain.batches(lambda: self.sessions):
                self.sessions.difference_update(batch)
                self.moves.append((time.monotonic(), len(batch)))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    @property
    def state(self) -> str:
        return self.agent.node.state.value


class Witness:
    """Keeps every state that any node's record has had in etcd, in the order of etcd's revisions."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    async def watch(self, client: Client) -> None:
        start = (await client.range(KEYS.nodes)).header.revision
        async with client.watch(KEYS.nodes, range_end(KEYS.nodes), start_revision=start) as watch:
            async for events in watch:
                self.events += [
                    (
                        node := KEYS.node_id(e.kv.key),
                        decode_node(node, e.kv.value).state.value if e.kv.value else "gone",
                    )
                    for e in events
                ]

    def states(self, node: str) -> list[str]:
        return [state for name, state in self.events if name == node]

    def most_at_once(self, state: str) -> int:
        now: dict[str, str] = {}
        most = 0
        for node, shown in self.events:
            now[node] = shown
            most = max(most, sum(each == state for each in now.values()))
        return most


class Yard:
    """Starts gateways, and does what operators do."""

    def __init__(self, etcd: EtcdServer, client: Client, stack: AsyncExitStack) -> None:
        self.etcd = etcd
        self.client = client
        self._stack = stack

    def agent(self, node: str, **options: Any) -> Agent:
        settings = {"etcd": self.etcd.endpoint, "ttl": TTL, "start_timeout": 10.0, "stall_after": 0.6, **options}
        return Agent(node, "10.0.0.1:8080", **settings)

    async def gateway(self, node: str, sessions: int = 0, **options: Any) -> Gateway:
        gateway = Gateway(self.agent(node, **options), sessions)
        await self._stack.enter_async_context(gateway.agent)
        return gateway

    async def witness(self) -> Witness:
        witness = Witness()
        client = await self._stack.enter_async_context(Client(EtcdOptions.of(self.etcd.endpoint)))
        task = asyncio.create_task(witness.watch(client), name="witness")

        async def close() -> None:
            task.cancel()
            await asyncio.wait([task])

        self._stack.push_async_callback(close)
        return witness

    def intent(self, **terms: Any) -> Intent:
        settings = {"by": "ann@ops", "reason": "kernel", "settle": SETTLE, **terms}
        return make_drain(now=datetime.now(UTC), **settings)

    async def drain(self, *nodes: str, **terms: Any) -> list[IntentView]:
        cohort = {"cohort": self.intent().cohort, "cohort_size": len(nodes), **terms}
        return await place_intents(self.client, KEYS, {node: self.intent(**cohort) for node in nodes})

    async def cordon(self, node: str) -> IntentView:
        cordon = make_cordon(by="ann@ops", now=datetime.now(UTC))
        return (await place_intents(self.client, KEYS, {node: cordon}))[0]

    async def withdraw(self, *nodes: str) -> None:
        for node in nodes:
            await withdraw_intent(self.client, KEYS, await read_intent(self.client, KEYS, node))

    async def progress(self, node: str) -> DrainProgress | None:
        status = (await read_statuses(self.client, KEYS, [node])).get(node)
        return status.drain if status else None

    async def permits(self) -> list[str]:
        return [kv.value for kv in await self.etcd.admin.range("/permits/drain/")]

    async def blocked(self, node: str, says: str) -> DrainProgress:
        """Wait until the node's published progress says what blocks it."""

        async def seen() -> DrainProgress | None:
            progress = await self.progress(node)
            return progress if progress and says in progress.blocked_by else None

        found = await eventually(seen, what=f"{node} blocked by {says!r}")
        assert found is not None
        return found


def moved_in_order(witness: Witness, node: str) -> list[str]:
    """The states of a node, without repetitions."""
    shown = witness.states(node)
    return [state for index, state in enumerate(shown) if index == 0 or shown[index - 1] != state]


@pytest.fixture
def in_order() -> Any:
    return moved_in_order


@pytest.fixture(scope="session")
def clusterd_etcd_binary(request: pytest.FixtureRequest) -> EtcdBinary:
    """The newest etcd, unless a test asks for others."""
    return getattr(request, "param", None) or newest_etcd()


@pytest.fixture
async def yard(etcd: EtcdServer) -> AsyncIterator[Yard]:
    """Gateways and operators on a fresh etcd of one member."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(EtcdOptions.of(etcd.endpoint)))
        yield Yard(etcd, client, stack)
