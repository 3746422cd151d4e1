"""What the harness does to a cluster of three members."""

from __future__ import annotations

import asyncio

import pytest

from clusterd.testing import EtcdCluster
from clusterd.testing.netns import PartitionableCluster


async def test_what_one_member_takes_all_have(etcd_cluster: EtcdCluster) -> None:
    await etcd_cluster.admins[0].put("/k", "1")
    values = [await admin.get("/k") for admin in etcd_cluster.admins]
    assert len(values) == 3
    assert all(kv is not None and kv.value == b"1" for kv in values)


async def test_a_killed_leader_is_followed_by_another_and_comes_back(etcd_cluster: EtcdCluster) -> None:
    first = await etcd_cluster.leader()
    await etcd_cluster.members[first].kill()
    second = await etcd_cluster.wait_leader(other_than=first)
    await etcd_cluster.admins[second].put("/k", "1")
    await etcd_cluster.start()
    assert await etcd_cluster.admins[first].get("/k") is not None


async def test_without_quorum_nothing_is_written_until_it_is_regained(etcd_cluster: EtcdCluster) -> None:
    await etcd_cluster.members[1].kill()
    etcd_cluster.members[2].pause()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(etcd_cluster.admin.put("/k", "1"), 1)
    etcd_cluster.members[2].resume()
    await etcd_cluster.wait_leader()
    await etcd_cluster.admin.put("/k", "2")


async def test_it_is_restored_from_a_snapshot_as_a_whole(etcd_cluster: EtcdCluster) -> None:
    await etcd_cluster.admin.put("/old", "1")
    snapshot = await etcd_cluster.snapshot()
    await etcd_cluster.admin.put("/new", "1")
    await etcd_cluster.restore(snapshot)
    for admin in etcd_cluster.admins:
        assert [kv.key for kv in await admin.range("/")] == [b"/old"]


@pytest.mark.netns
async def test_a_partitioned_member_is_reached_by_clients_but_not_by_its_peers(
    partitionable_cluster: PartitionableCluster,
) -> None:
    cluster = partitionable_cluster
    alone = await cluster.leader()
    await cluster.admins[alone].put("/k", "before")

    await cluster.partition(alone)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(cluster.admins[alone].put("/k", "lost"), 1)
    leader = await cluster.wait_leader(other_than=alone)
    await cluster.admins[leader].put("/k", "during")
    stale = await cluster.admins[alone].call("kv/range", {"key": "L2s=", "serializable": True})
    assert stale["kvs"][0]["value"] == "YmVmb3Jl"  # "before": it serves what it knew

    await cluster.heal(alone)
    await cluster.wait_healthy()
    healed = await cluster.admins[alone].get("/k")
    assert healed is not None
    assert healed.value == b"during"
