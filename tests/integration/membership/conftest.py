"""A small fleet on a real etcd, and a record of all that its members saw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from clusterd import Agent, Change, NodeState
from clusterd.testing import EtcdServer

TTL = 2
"""Seconds: as short as etcd allows, so that tests of what happens after it are short too."""


class Witness:
    """Records every change that one agent sees."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.changes: list[Change] = []
        self._reader = asyncio.create_task(self._read(), name=f"witness of {agent.node.id}")

    async def _read(self) -> None:
        async for change in self.agent.changes():
            self.changes.append(change)

    @property
    def joined(self) -> list[str]:
        return [node.id for change in self.changes for node in change.joined]

    @property
    def left(self) -> list[str]:
        return [node.id for change in self.changes for node in change.left]

    @property
    def went_stale(self) -> bool:
        return any(change.after.stale for change in self.changes)

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.wait([self._reader])


class Fleet:
    """Starts agents on one etcd and stops them at the end of the test."""

    def __init__(self, etcd: Any, stack: AsyncExitStack) -> None:
        self._etcd = etcd
        self._stack = stack
        self._count = 0

    async def agent(self, node: str | None = None, **options: Any) -> Agent:
        return await self._stack.enter_async_context(self.new(node, **options))

    async def agents(self, count: int, **options: Any) -> list[Agent]:
        return [await self.agent(**options) for _ in range(count)]

    async def witness(self, agent: Agent) -> Witness:
        witness = Witness(agent)
        self._stack.push_async_callback(witness.close)
        await asyncio.sleep(0)
        return witness

    def new(self, node: str | None = None, **options: Any) -> Agent:
        self._count += 1
        settings = {
            "etcd": options.pop("etcd", None) or self._etcd.endpoints,
            "ttl": TTL,
            "start_timeout": 10.0,
            **options,
        }
        return Agent(node or f"gw-{self._count}", f"10.0.0.{self._count % 250 + 1}:8080", **settings)


@pytest.fixture
async def fleet(etcd: EtcdServer) -> AsyncIterator[Fleet]:
    """Agents on a fresh etcd of one member."""
    async with AsyncExitStack() as stack:
        yield Fleet(etcd, stack)


@pytest.fixture
def sees() -> Callable[[Agent], dict[str, NodeState]]:
    """What one agent believes of the fleet: ids and states, without nodes that are only kept until confirmed."""

    def look(agent: Agent) -> dict[str, NodeState]:
        return {node.id: node.state for node in agent.topology if not node.unconfirmed}

    return look


@pytest.fixture
def fleet_on() -> Callable[[Any, AsyncExitStack], Fleet]:
    """Make a fleet on an etcd that the test set up by itself."""
    return Fleet
