"""Nodes to be drained, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from clusterd import Agent, Drain
from clusterd.drain import Intent
from clusterd.drain.intent import decode_intent
from clusterd.testing import AgentProcess, EtcdServer


class Yard:
    """Starts nodes: processes without sessions, and gateways with some, which go as fast as they are asked to."""

    def __init__(self, etcd: EtcdServer, stack: AsyncExitStack) -> None:
        self.etcd = etcd
        self._stack = stack

    async def process(self, node: str, *arguments: str) -> AgentProcess:
        where = ("--etcd", self.etcd.endpoint, "--ttl", "2", "--node", node, "--address", "127.0.0.1:80")
        process = await self._stack.enter_async_context(AgentProcess(*where, *arguments))
        await process.wait_for_line("is registered", 20.0)
        return process

    async def gateway(self, node: str, sessions: int, **options: Any) -> Agent:
        agent = Agent(node, "10.0.0.1:80", etcd=self.etcd.endpoint, ttl=2, start_timeout=20.0, **options)
        held = set(range(sessions))
        agent.sessions.count_with(lambda: len(held))

        async def evacuate(drain: Drain) -> None:
            async for batch in drain.batches(lambda: held):
                held.difference_update(batch)

        agent.on_drain(evacuate)
        return await self._stack.enter_async_context(agent)

    async def wanted(self) -> list[str]:
        """The nodes that have an intent."""
        return sorted(kv.key.decode().removeprefix("/intents/") for kv in await self.etcd.admin.range("/intents/"))

    async def intents(self) -> list[Intent]:
        """The intents that can be read."""
        found = [decode_intent(kv.value) for kv in await self.etcd.admin.range("/intents/")]
        return [intent for intent in found if intent is not None]

    async def rates(self, rate: float) -> int:
        """How many drains go at this rate."""
        return sum(intent.rate == rate for intent in await self.intents())


def is_state(agent: Agent, state: str) -> Callable[[], bool]:
    return lambda: agent.node.state.value == state
