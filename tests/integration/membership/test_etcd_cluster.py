"""Three members: one may fail, the fleet must not; without a quorum everybody waits and nobody is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from clusterd import SessionState
from clusterd.etcd.client import Client
from clusterd.etcd.errors import Unavailable, WrongCluster
from clusterd.etcd.messages import decode_range
from clusterd.etcd.options import EtcdOptions
from clusterd.etcd.process import EtcdProcess
from clusterd.testing import EtcdCluster, EtcdServer, eventually


@pytest.fixture
async def wide_fleet(etcd_cluster: EtcdCluster, fleet_on: Any) -> AsyncIterator[Any]:
    """Agents on an etcd of three members."""
    async with AsyncExitStack() as stack:
        yield fleet_on(etcd_cluster, stack)


@pytest.mark.parametrize("fault", ["kill", "pause", "stop"])
async def test_one_member_of_three_killed_paused_or_stopped_costs_nothing(
    etcd_cluster: EtcdCluster, wide_fleet: Any, sees: Any, fault: str
) -> None:
    agents = await wide_fleet.agents(3, ttl=4)
    witnesses = [await wide_fleet.witness(agent) for agent in agents]
    leader = await etcd_cluster.leader()
    # A paused leader is a case of its own, below: etcd itself revokes leases then.
    member = etcd_cluster.members[leader if fault != "pause" else (leader + 1) % 3]
    await befall(member, fault)
    await asyncio.sleep(5)
    joiner = await wide_fleet.agent(ttl=4)
    await eventually(lambda: all(joiner.node.id in agent.topology for agent in agents))
    await recover(member, fault)
    await etcd_cluster.wait_healthy()
    ids = {agent.node.id for agent in [*agents, joiner]}
    await eventually(lambda: all(sees(agent).keys() == ids for agent in agents))
    assert [witness.left for witness in witnesses] == [[], [], []]


async def test_a_leader_paused_and_resumed_keeps_nobody_out(
    etcd_cluster: EtcdCluster, wide_fleet: Any, sees: Any
) -> None:
    """A leader that was paused revokes, as it goes on, leases that were renewed elsewhere (etcd-io/etcd #12528)."""
    agents = await wide_fleet.agents(3, ttl=4)
    member = etcd_cluster.members[await etcd_cluster.leader()]
    member.pause()
    await asyncio.sleep(6)
    member.resume()
    await etcd_cluster.wait_healthy()
    for agent in agents:
        await asyncio.wait_for(agent.session.wait_for(SessionState.CONNECTED), 10)
    await eventually(lambda: all(len(sees(agent)) == 3 and not agent.topology.stale for agent in agents))


async def befall(member: EtcdProcess, fault: str) -> None:
    if fault == "pause":
        member.pause()
    else:
        await getattr(member, fault)()


async def recover(member: EtcdProcess, fault: str) -> None:
    if fault == "pause":
        member.resume()
    else:
        await member.start()


async def test_a_quorum_lost_for_longer_than_the_ttl_and_regained_removes_nobody(
    etcd_cluster: EtcdCluster, wide_fleet: Any, sees: Any
) -> None:
    agents = await wide_fleet.agents(3, ttl=3)
    witnesses = [await wide_fleet.witness(agent) for agent in agents]
    first, second, _ = etcd_cluster.members
    await asyncio.gather(first.kill(), second.kill())
    for agent in agents:
        await asyncio.wait_for(agent.session.wait_for(SessionState.LOST), 10)
    await eventually(lambda: all(agent.topology.stale for agent in agents))
    assert all(len(agent.topology) == 3 for agent in agents)

    await etcd_cluster.start()
    for agent in agents:
        await asyncio.wait_for(agent.session.wait_for(SessionState.CONNECTED), 20)
    await eventually(lambda: all(len(sees(agent)) == 3 and not agent.topology.stale for agent in agents))
    assert [witness.left for witness in witnesses] == [[], [], []]


async def test_the_leader_dies_again_and_again(etcd_cluster: EtcdCluster, wide_fleet: Any, sees: Any) -> None:
    agents = await wide_fleet.agents(2, ttl=4)
    witnesses = [await wide_fleet.witness(agent) for agent in agents]
    for _ in range(3):
        leader = etcd_cluster.members[await etcd_cluster.leader()]
        await leader.kill()
        await asyncio.sleep(1)
        await leader.start()
    await eventually(lambda: all(len(sees(agent)) == 2 and not agent.topology.stale for agent in agents))
    assert [witness.left for witness in witnesses] == [[], []]
    await asyncio.wait_for(agents[0].session.wait_for(SessionState.CONNECTED), 10)


async def test_an_endpoint_of_another_cluster_is_never_written_to(etcd: EtcdServer, etcd_binary: Any) -> None:
    async with EtcdServer(binary=etcd_binary) as other:
        endpoints = (etcd.endpoint, other.endpoint)
        async with Client(EtcdOptions((etcd.endpoint,))) as client:
            await client.put(b"/known", b"")
            known = client.cluster_id
        async with Client(EtcdOptions(endpoints)) as client:
            client.failover.cluster_id = known
            for number in range(5):
                client.failover.failed(etcd.endpoint)  # the stranger is asked first
                await client.put(f"/key-{number}".encode(), b"")
            await etcd.stop()
            with pytest.raises(Unavailable):
                await client.put(b"/z", b"", timeout=1.0)
            assert client.cluster_id == known
        assert await other.admin.range("/") == []


async def test_endpoints_of_two_clusters_are_named_as_such(etcd: EtcdServer, etcd_binary: Any) -> None:
    async with (
        EtcdServer(binary=etcd_binary) as other,
        Client(EtcdOptions((etcd.endpoint, other.endpoint), timeout=1.0)) as client,
    ):
        await client.range(b"/")
        stranger = other if client.cluster_id == await cluster_id(etcd) else etcd
        with pytest.raises(WrongCluster, match="give endpoints of one cluster only"):
            await client.call("/kv/range", {"key": b"/"}, decode_range, endpoint=stranger.endpoint)


async def cluster_id(etcd: EtcdServer) -> int:
    return int((await etcd.admin.status())["header"]["cluster_id"])
