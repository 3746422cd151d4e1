"""An observer follows the fleet as an agent does, and leaves no trace in it."""

from __future__ import annotations

from typing import Any

import pytest

import clusterd
from clusterd import Action, Observer, RoutedAt, judge
from clusterd.testing import EtcdServer, eventually


def ids(observer: Observer) -> set[str]:
    return {node.id for node in observer.topology if not node.unconfirmed}


async def test_it_sees_the_fleet_and_the_fleet_does_not_see_it(etcd: EtcdServer, fleet: Any) -> None:
    agent = await fleet.agent("gw-1", ttl=60)
    before = await etcd.admin.revision()
    async with Observer(etcd.endpoints) as observer:
        assert ids(observer) == {"gw-1"}
        assert observer.topology.route("user-42").owner == agent.topology.route("user-42").owner
        assert await etcd.admin.revision() == before
        changes = observer.changes()
        await fleet.agent("gw-2", ttl=60)
        joined = await anext(changes)
        assert [node.id for node in joined.joined] == ["gw-2"]
        assert await observer.wait_for(await etcd.admin.revision(), 5) == observer.topology
    with pytest.raises(StopAsyncIteration):
        await anext(changes)


async def test_a_node_serves_who_listed_at_a_revision_that_changed_no_node(etcd: EtcdServer, fleet: Any) -> None:
    """A node that only follows changes never comes to such a revision by itself: the barrier asks etcd, and tells."""
    agent = await fleet.agent("gw-1", ttl=60)
    await etcd.admin.put("/of/others", "1")
    async with Observer(etcd.endpoints) as router:
        routed_at = RoutedAt.of(router.topology)
        assert judge(agent.topology, "gw-1", "user-42", routed_at).action is Action.CATCH_UP
        topology = await agent.wait_for(routed_at.revision, 10)
        assert judge(topology, "gw-1", "user-42", routed_at).action is Action.SERVE
        assert judge(agent.topology, "gw-1", "user-42", routed_at).action is Action.SERVE
        await agent.update(weight=50)
        await eventually(lambda: router.topology.nodes["gw-1"].weight == 50)
        routed_at = RoutedAt.of(router.topology)
        assert judge(await agent.wait_for(routed_at.revision), "gw-1", "user-42", routed_at).action is Action.SERVE


async def test_it_keeps_the_topology_while_etcd_is_away_and_catches_up(etcd: EtcdServer, fleet: Any) -> None:
    await fleet.agent("gw-1", ttl=60)
    async with Observer(etcd.endpoints, ttl=2) as observer:
        await etcd.stop()
        await eventually(lambda: observer.topology.stale)
        assert [node.id for node in observer.topology] == ["gw-1"]
        await etcd.start()
        await fleet.agent("gw-2", ttl=60)
        await eventually(lambda: not observer.topology.stale and ids(observer) == {"gw-1", "gw-2"})


async def test_entering_says_why_it_can_not(etcd: EtcdServer) -> None:
    with pytest.raises(clusterd.ClusterdError, match=r"the fleet was not listed within 0\.5 s: .*127\.0\.0\.1:1"):
        async with Observer("http://127.0.0.1:1", start_timeout=0.5):
            pass
    with pytest.raises(clusterd.UsageError, match="start_timeout"):
        Observer(etcd.endpoints, start_timeout=0)
    with pytest.raises(clusterd.AgentStopped, match="async with"):
        Observer(etcd.endpoints).changes()


async def test_the_barrier_has_a_limit(etcd: EtcdServer) -> None:
    async with Observer(etcd.endpoints) as observer:
        assert len(observer.topology) == 0
        with pytest.raises(clusterd.WaitTimeout, match="the topology is at"):
            await observer.wait_for(await etcd.admin.revision() + 1000, 0.2)
