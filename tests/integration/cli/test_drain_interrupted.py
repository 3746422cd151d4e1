"""Commands that ask for drains, or change them, end in the middle: nothing is left that nobody wanted."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from clusterd import Agent
from clusterd.drain import make_drain
from clusterd.drain.operator import place_intents
from clusterd.etcd.client import Client
from clusterd.etcd.options import EtcdOptions
from clusterd.keys import Keyspace
from clusterd.node import Node, NodeState, encode_node
from clusterd.testing import TcpProxy, eventually
from tests.integration.cli.yard import Yard, is_state


async def interrupt(child: Any, proxy: TcpProxy) -> bytes:
    """Press Ctrl-C, and let the network carry again; return what the command says on stderr."""
    child.send_signal(signal.SIGINT)
    await proxy.heal()
    async with asyncio.timeout(30):
        rest: bytes = await child.stderr.read()
        assert await child.wait() == 130
    return rest


class TestInterrupted:
    """The command is interrupted while it places a cohort too large for one transaction."""

    NODES = 250

    @pytest.fixture
    async def placing(self, yard: Yard, started: Any) -> AsyncIterator[tuple[Any, TcpProxy, Agent]]:
        """A drain of many, through a slow network, of whose nodes some have been asked; the first one is real."""
        agent = await yard.gateway("gw-000", 5)
        lease = await yard.etcd.admin.lease_grant(300)
        for number in range(1, self.NODES):
            node = Node(id=f"gw-{number:03}", address="127.0.0.1:80", state=NodeState.CORDONED)
            await yard.etcd.admin.put(f"/nodes/{node.id}", encode_node(node), lease=lease)
        async with TcpProxy(yard.etcd.endpoint) as proxy:
            chosen = ("drain", "--all", "-y", "--settle", "0", "--endpoints", proxy.endpoint)
            async with started(*chosen, env={"CLUSTERCTL_TIMEOUT": "20s"}) as child:
                assert b"SESSIONS" in await child.stdout.readline()
                proxy.delay(0.3)
                await eventually(yard.wanted, timeout=30)
                proxy.drop()
                assert len(await yard.wanted()) < self.NODES
                yield child, proxy, agent

    async def test_by_ctrl_c_takes_back_what_was_asked(self, yard: Yard, placing: Any) -> None:
        child, proxy, agent = placing
        rest = await interrupt(child, proxy)
        assert b"what was asked so far is taken back" in rest
        assert await yard.wanted() == []
        await eventually(is_state(agent, "active"))

    async def test_by_a_kill_moves_nobody(self, placing: Any, clusterctl: Any, here: Any) -> None:
        child, _, agent = placing
        await child.kill()
        await eventually(is_state(agent, "cordoned"))

        async def says() -> bool:
            shown = (await clusterctl("drain", "status", "gw-000", "-o", "json", env=here)).out
            return "if its operator was interrupted" in json.loads(shown)[0]["blocked_by"]

        await eventually(says)
        assert agent.sessions.count == 5
        assert (await clusterctl("undrain", "--all", env=here)).code == 0
        await eventually(is_state(agent, "active"))


class TestChangesInterrupted:
    """`drain set` is interrupted while it changes more drains than fit into one transaction."""

    NODES = 150
    CHANGE = ("drain", "set", "--all", "-y", "--rate", "500/s")

    @pytest.fixture
    async def changing(self, yard: Yard, started: Any) -> AsyncIterator[tuple[Any, TcpProxy, Agent]]:
        """A change of many drains, through a slow network, some of which are changed; the first one is of a node."""
        agent = await yard.gateway("gw-000", 200)
        async with Client(EtcdOptions.of(yard.etcd.endpoint)) as client:
            ids = [f"gw-{number:03}" for number in range(self.NODES)]
            intents = {node: make_drain(by="ann@ops", now=datetime.now(UTC), rate=1.0, settle=0.0) for node in ids}
            await place_intents(client, Keyspace(), intents)
        await eventually(is_state(agent, "draining"))
        async with TcpProxy(yard.etcd.endpoint) as proxy:
            proxy.delay(0.2)
            where = ("--endpoints", proxy.endpoint)
            async with started(*self.CHANGE, *where, env={"CLUSTERCTL_TIMEOUT": "20s"}) as child:
                await eventually(lambda: yard.rates(500.0), timeout=30)
                proxy.drop()
                assert await yard.rates(1.0)
                yield child, proxy, agent

    async def test_by_ctrl_c_changes_them_back(self, yard: Yard, changing: Any) -> None:
        child, proxy, agent = changing
        rest = await interrupt(child, proxy)
        assert b"what was changed is changed back. Look: clusterctl drain status --endpoints" in rest
        assert await yard.rates(1.0) == self.NODES
        assert is_state(agent, "draining")()

    async def test_by_a_kill_leaves_drains_that_go_on_and_can_be_changed_again(
        self, yard: Yard, changing: Any, clusterctl: Any, here: Any
    ) -> None:
        child, _, agent = changing
        await child.kill()
        assert await yard.rates(1.0) + await yard.rates(500.0) == self.NODES
        assert not any(intent.placing for intent in await yard.intents())
        assert (await clusterctl(*self.CHANGE, env=here)).code == 0
        assert await yard.rates(500.0) == self.NODES
        await eventually(is_state(agent, "drained"))


async def test_a_drain_whose_answer_never_came_says_how_to_find_out(
    yard: Yard, started: Any, clusterctl: Any, here: dict[str, str]
) -> None:
    agent = await yard.gateway("gw-1", 5)
    async with TcpProxy(yard.etcd.endpoint) as proxy:
        proxy.delay(0.2)
        command = ("drain", "gw-1", "-y", "--settle", "0", "--endpoints", proxy.endpoint)
        async with started(*command, env={"CLUSTERCTL_TIMEOUT": "3s"}) as child:
            await eventually(yard.wanted, timeout=30)
            proxy.drop()
            async with asyncio.timeout(30):
                assert await child.wait() == 3
                err = (await child.stderr.read()).decode()
    look = f"look, when it is back, with clusterctl drain status --endpoints {proxy.endpoint}"
    assert f"etcd may have taken all of it, or a part: {look}" in err
    assert err.count("\n") == 2
    assert (await clusterctl("drain", "status", "-w", "gw-1", env=here)).code == 0
    assert is_state(agent, "drained")()
