"""One member of three is cut off from the others while clients still reach it: it must fool nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from clusterd import EtcdOptions, SessionState
from clusterd.etcd.client import Client
from clusterd.etcd.errors import Unavailable
from clusterd.testing import eventually
from clusterd.testing.netns import PartitionableCluster

pytestmark = pytest.mark.netns


@pytest.fixture
async def wide_fleet(partitionable_cluster: PartitionableCluster, fleet_on: Any) -> AsyncIterator[Any]:
    """Agents on an etcd whose members can be cut off."""
    async with AsyncExitStack() as stack:
        yield fleet_on(partitionable_cluster, stack)


async def test_a_partitioned_leader_costs_nobody_his_place(
    partitionable_cluster: PartitionableCluster, wide_fleet: Any, sees: Any
) -> None:
    agents = await wide_fleet.agents(3, ttl=5)
    witnesses = [await wide_fleet.witness(agent) for agent in agents]
    alone = await partitionable_cluster.leader()
    await partitionable_cluster.partition(alone)

    joiner = await wide_fleet.agent(ttl=5)
    await eventually(lambda: all(joiner.node.id in agent.topology for agent in agents), timeout=30)
    for agent in agents:
        await asyncio.wait_for(agent.session.wait_for(SessionState.CONNECTED), 15)
    await partitionable_cluster.heal(alone)
    await eventually(lambda: all(len(sees(agent)) == 4 and not agent.topology.stale for agent in agents))
    assert [witness.left for witness in witnesses] == [[], [], []]


async def test_an_agent_that_knows_only_a_partitioned_member_says_that_it_is_stale(
    partitionable_cluster: PartitionableCluster, wide_fleet: Any, sees: Any
) -> None:
    alone = (await partitionable_cluster.leader() + 1) % 3
    others = [url for index, url in enumerate(partitionable_cluster.endpoints) if index != alone]
    lonely = await wide_fleet.agent(etcd=partitionable_cluster.endpoints[alone], ttl=4)
    watcher = await wide_fleet.agent(etcd=others, ttl=4)
    await partitionable_cluster.partition(alone)

    await asyncio.wait_for(lonely.session.wait_for(SessionState.LOST), 10)
    await eventually(lambda: lonely.topology.stale)
    assert lonely.topology.nodes.keys() == {lonely.node.id, watcher.node.id}
    await eventually(lambda: sees(watcher).keys() == {watcher.node.id}, timeout=20)
    await partitionable_cluster.heal(alone)
    await eventually(lambda: len(sees(watcher)) == 2 == len(sees(lonely)), timeout=20)


async def test_a_watch_on_a_member_without_a_leader_ends(partitionable_cluster: PartitionableCluster) -> None:
    alone = (await partitionable_cluster.leader() + 1) % 3
    async with (
        Client(EtcdOptions((partitionable_cluster.endpoints[alone],))) as client,
        client.watch(b"/nodes/", b"/nodes0", start_revision=1) as watch,
    ):
        await partitionable_cluster.partition(alone)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(anext(watch), 20)
    await partitionable_cluster.heal(alone)
