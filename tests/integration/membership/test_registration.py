"""A node registers, and stays registered whatever befalls its lease, its key or etcd."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from clusterd import InvalidAddress, InvalidNodeId, NodeIdHeld, NodeReplaced, NodeState, SessionState, UsageError
from clusterd.etcd.errors import NoSpace, Unavailable
from clusterd.testing import EtcdServer, eventually, never

TTL_ENOUGH = 10


def key_of(agent: Any) -> str:
    return f"/nodes/{agent.node.id}"


async def test_a_node_that_enters_is_seen_by_the_others_with_its_whole_record(etcd: EtcdServer, fleet: Any) -> None:
    first = await fleet.agent("gw-1")
    second = await fleet.agent("gw-2", zone="az-1", weight=7, labels={"tier": "edge"}, endpoints={"ws": "ws://x:1"})
    await first.wait_for(await etcd.admin.revision())

    seen = first.topology.nodes["gw-2"]
    assert (seen.zone, seen.weight, seen.labels, seen.endpoints) == ("az-1", 7, {"tier": "edge"}, {"ws": "ws://x:1"})
    assert seen.instance == second.node.instance
    assert seen.state is NodeState.ACTIVE

    stored = await etcd.admin.get("/nodes/gw-2")
    record = json.loads(stored.value)
    assert record.keys() == {
        *("v", "id", "instance", "address", "state", "weight"),
        *("zone", "labels", "endpoints", "started_at", "agent"),
    }
    assert stored.lease in await etcd.admin.leases()


async def test_a_node_that_leaves_is_gone_at_once(etcd: EtcdServer, fleet: Any) -> None:
    watcher = await fleet.agent("gw-1", ttl=30)
    async with fleet.new("gw-2", ttl=30):
        await eventually(lambda: "gw-2" in watcher.topology)
    await eventually(lambda: "gw-2" not in watcher.topology, timeout=5)
    assert await etcd.admin.get("/nodes/gw-2") is None


async def test_a_lease_revoked_by_hand_is_replaced(etcd: EtcdServer, fleet: Any) -> None:
    first, second = await fleet.agents(2)
    before = first.topology.nodes[first.node.id]
    await etcd.admin.lease_revoke(before.lease)

    await eventually(lambda: (node := second.topology.nodes.get(first.node.id)) and node.lease not in (0, before.lease))
    await eventually(lambda: first.session.state is SessionState.CONNECTED)
    after = second.topology.nodes[first.node.id]
    assert after.instance == before.instance


async def test_a_key_deleted_by_hand_is_put_back_under_the_same_lease(etcd: EtcdServer, fleet: Any) -> None:
    agent = await fleet.agent()
    lease = agent.topology.nodes[agent.node.id].lease
    witness = await fleet.witness(agent)
    await etcd.admin.delete(key_of(agent))

    await eventually(lambda: witness.joined == [agent.node.id], timeout=TTL_ENOUGH)
    assert agent.topology.nodes[agent.node.id].lease == lease


@pytest.mark.parametrize("value", [b"active", b"\xff\x00", b'{"id":"other"}', b""])
async def test_a_key_overwritten_by_hand_is_mended_and_bound_to_the_lease_again(
    etcd: EtcdServer, fleet: Any, value: bytes
) -> None:
    agent = await fleet.agent()
    lease = agent.topology.nodes[agent.node.id].lease
    await etcd.admin.put(key_of(agent), value)

    async def mended() -> bool:
        stored = await etcd.admin.get(key_of(agent))
        return bool(stored) and stored.lease == lease and json.loads(stored.value)["id"] == agent.node.id

    await eventually(mended, timeout=TTL_ENOUGH)
    await agent.wait_for(await etcd.admin.revision())
    seen = agent.topology.nodes[agent.node.id]
    assert (seen.lease, seen.foreign) == (lease, False)


async def test_an_etcd_stopped_for_longer_than_the_ttl_costs_nobody_his_place(
    etcd: EtcdServer, fleet: Any, sees: Any
) -> None:
    agents = await fleet.agents(3)
    witnesses = [await fleet.witness(agent) for agent in agents]
    await etcd.stop()
    for state in (SessionState.SUSPENDED, SessionState.LOST):
        await asyncio.wait_for(agents[0].session.wait_for(state), 10)
    await eventually(lambda: all(agent.topology.stale for agent in agents))
    assert all(len(agent.topology) == 3 for agent in agents)

    await etcd.start()
    for agent in agents:
        await asyncio.wait_for(agent.session.wait_for(SessionState.CONNECTED), 10)
    await eventually(lambda: all(len(sees(agent)) == 3 and not agent.topology.stale for agent in agents))
    assert [witness.left for witness in witnesses] == [[], [], []]
    assert len(await etcd.admin.range("/nodes/")) == 3


async def test_an_etcd_killed_and_started_again_is_found_again(etcd: EtcdServer, fleet: Any, sees: Any) -> None:
    agents = await fleet.agents(2)
    witness = await fleet.witness(agents[0])
    await etcd.kill()
    await etcd.start()
    newcomer = await fleet.agent()
    await eventually(lambda: all(len(sees(agent)) == 3 for agent in [*agents, newcomer]))
    assert witness.left == []


async def test_an_etcd_paused_past_the_ttl_removes_nobody(etcd: EtcdServer, fleet: Any, sees: Any) -> None:
    """A paused etcd expires, as it wakes, leases that could not be renewed: those nodes did not leave."""
    agents = await fleet.agents(3)
    witnesses = [await fleet.witness(agent) for agent in agents]
    etcd.pause()
    await asyncio.wait_for(agents[0].session.wait_for(SessionState.LOST), 10)
    etcd.resume()
    await eventually(lambda: all(len(sees(agent)) == 3 and not agent.topology.stale for agent in agents), timeout=20)
    assert [witness.left for witness in witnesses] == [[], [], []]


async def test_the_session_ends_by_our_own_clock_no_later_than_the_lease(etcd: EtcdServer, fleet: Any) -> None:
    agent = await fleet.agent(ttl=3)
    etcd.pause()
    paused = time.monotonic()
    await asyncio.wait_for(agent.session.wait_for(SessionState.LOST), 10)
    assert time.monotonic() - paused <= 3.5
    assert agent.session.remaining == 0
    etcd.resume()


async def test_a_wiped_etcd_is_filled_again_while_the_fleet_keeps_its_nodes(
    etcd: EtcdServer, fleet: Any, sees: Any
) -> None:
    agents = await fleet.agents(3)
    witnesses = [await fleet.witness(agent) for agent in agents]
    await etcd.wipe()

    async def filled() -> bool:
        return len(await etcd.admin.range("/nodes/")) == 3

    await eventually(filled)
    await eventually(lambda: all(len(sees(agent)) == 3 and not agent.topology.stale for agent in agents))
    assert [witness.left for witness in witnesses] == [[], [], []]


async def test_a_wiped_etcd_with_a_new_cluster_id_is_taken_over(etcd: EtcdServer, fleet: Any, sees: Any) -> None:
    agents = await fleet.agents(2)
    known = agents[0].topology.cluster_id
    await etcd.wipe(new_cluster_id=True)
    await eventually(lambda: all(len(sees(agent)) == 2 and agent.topology.cluster_id != known for agent in agents))


async def test_an_etcd_restored_from_an_older_snapshot_is_put_right(etcd: EtcdServer, fleet: Any, sees: Any) -> None:
    early = await fleet.agent()
    async with fleet.new("gone"):
        snapshot = await etcd.snapshot()
    late = await fleet.agent()
    for number in range(20):
        revision = await etcd.admin.put(f"/nodes/elsewhere-{number}")
        await etcd.admin.delete(f"/nodes/elsewhere-{number}")
    await late.wait_for(revision)
    witness = await fleet.witness(late)
    await etcd.restore(snapshot)

    await eventually(lambda: late.topology.revision < revision, what="the older revision")
    await eventually(lambda: all(sees(agent).keys() >= {early.node.id, late.node.id} for agent in (early, late)))
    await eventually(lambda: sees(late).keys() == {early.node.id, late.node.id}, what="the ghost lapses")
    assert late.node.id not in witness.left
    assert early.node.id not in witness.left


async def test_a_restored_etcd_that_holds_a_predecessor_of_ours_does_not_replace_us(
    etcd: EtcdServer, fleet: Any
) -> None:
    async with fleet.new("gw-1"):
        snapshot = await etcd.snapshot()
    agent = await fleet.agent("gw-1")
    lease = agent.topology.nodes["gw-1"].lease
    await etcd.restore(snapshot)
    await eventually(
        lambda: (
            agent.topology.nodes["gw-1"].lease != lease
            and not agent.topology.stale
            and agent.topology.nodes["gw-1"].instance == agent.node.instance
            and not agent.topology.nodes["gw-1"].unconfirmed
        )
    )


async def test_a_node_id_that_a_live_instance_holds_is_not_stolen(fleet: Any) -> None:
    holder = await fleet.agent("gw-1")
    with pytest.raises(NodeIdHeld, match=holder.node.instance):
        await fleet.agent("gw-1")
    assert holder.session.state is SessionState.CONNECTED


async def test_a_node_id_is_free_again_after_its_holder_died(etcd: EtcdServer, fleet: Any) -> None:
    lease = await etcd.admin.lease_grant(2)
    await etcd.admin.put("/nodes/gw-1", b'{"v":1,"id":"gw-1","instance":"dead","address":"h:1"}', lease=lease)
    agent = await fleet.agent("gw-1")
    assert agent.topology.nodes["gw-1"].instance == agent.node.instance


async def test_a_live_holder_that_is_not_ours_is_not_overwritten(etcd: EtcdServer, fleet: Any) -> None:
    lease = await etcd.admin.lease_grant(60)
    await etcd.admin.put("/nodes/gw-1", b"active", lease=lease)
    agent = fleet.new("gw-1", start_timeout=1.0)
    task = asyncio.create_task(agent.__aenter__())
    await never(task.done, 2.5, what="an end of waiting for the holder's lease")
    assert (await etcd.admin.get("/nodes/gw-1")).value == b"active"
    task.cancel()
    await asyncio.wait([task])


async def test_replace_takes_over_at_once_and_the_replaced_instance_stops(etcd: EtcdServer, fleet: Any) -> None:
    old, entered = fleet.new("gw-1", ttl=30), asyncio.Event()

    async def live() -> None:
        async with old:
            entered.set()
            await asyncio.sleep(20)

    life = asyncio.create_task(live(), name="the replaced instance")
    await entered.wait()
    new = await fleet.agent("gw-1", ttl=30, replace=True)
    with pytest.raises(NodeReplaced, match="taken over"):
        await life
    assert old.session.state is SessionState.LOST
    await new.wait_for(await etcd.admin.revision())
    assert new.topology.nodes["gw-1"].instance == new.node.instance


async def test_a_full_etcd_keeps_the_lease_and_registers_again_when_it_has_room(
    etcd_binary: Any, fleet_on: Any
) -> None:
    from contextlib import AsyncExitStack

    async with (
        EtcdServer(binary=etcd_binary, quota_bytes=2 * 1024 * 1024) as etcd,
        AsyncExitStack() as stack,
    ):
        fleet = fleet_on(etcd, stack)
        agent = await fleet.agent()
        lease = agent.topology.nodes[agent.node.id].lease
        await fill(etcd)
        with pytest.raises(NoSpace, match="compact and defragment"):
            await fleet.agent()
        await asyncio.sleep(3)  # longer than the TTL: renewals go on
        assert agent.session.state is SessionState.CONNECTED
        assert (await etcd.admin.get(key_of(agent))).lease == lease


async def fill(etcd: EtcdServer) -> None:
    from clusterd.testing import AdminError

    with pytest.raises(AdminError, match="space exceeded"):
        for number in range(100):
            await etcd.admin.put(f"/ballast/{number}", b"x" * 100_000)
    assert "NOSPACE" in await etcd.admin.alarms()


async def test_a_changed_record_reaches_the_others(fleet: Any) -> None:
    first, second = await fleet.agents(2)
    revision = await first.update(state=NodeState.CORDONED, weight=3)
    topology = await second.wait_for(revision)
    assert topology.nodes[first.node.id].state is NodeState.CORDONED
    assert topology.nodes[first.node.id].weight == 3


async def test_a_refused_change_changes_nothing(fleet: Any) -> None:
    agent = await fleet.agent()
    before = agent.node
    with pytest.raises(UsageError):
        await agent.update(weight=-1)
    with pytest.raises(UsageError):
        await agent.update(labels={"k": "v" * 20_000})
    assert agent.node == before


async def test_figures_are_bound_to_the_lease_and_not_told_to_the_fleet(etcd: EtcdServer, fleet: Any) -> None:
    first, second = await fleet.agents(2)
    witness = await fleet.witness(second)
    await first.report(sessions=41)
    stored = await etcd.admin.get(f"/status/{first.node.id}")
    assert json.loads(stored.value)["sessions"] == 41
    assert stored.lease == first.topology.nodes[first.node.id].lease
    await second.wait_for(await etcd.admin.revision())
    assert witness.changes == []


async def test_two_fleets_under_two_prefixes_do_not_see_each_other(fleet: Any) -> None:
    blue = await fleet.agent("gw-1", prefix="/blue/")
    green = await fleet.agent("gw-1", prefix="/green/")
    assert list(blue.topology.nodes) == ["gw-1"] == list(green.topology.nodes)
    assert blue.topology.nodes["gw-1"].instance != green.topology.nodes["gw-1"].instance


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"node": "gw 1"}, InvalidNodeId, "gw 1"),
        ({"node": ""}, InvalidNodeId, "''"),
        ({"address": "10.0.0.1"}, InvalidAddress, "no port"),
        ({"ttl": 0}, UsageError, "ttl 0"),
        ({"ttl": 1e9}, UsageError, "ttl"),
        ({"weight": -1}, UsageError, "weight -1"),
        ({"prefix": "nodes"}, UsageError, "prefix"),
        ({"etcd": "ftp://h"}, UsageError, "ftp"),
        ({"etcd": "http://user:secret@h"}, UsageError, "settings of their own"),
        ({"etcd": ""}, UsageError, "no etcd endpoint"),
    ],
)
def test_an_agent_that_can_not_work_is_refused_before_anything_connects(
    arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    from clusterd import Agent

    with pytest.raises(error, match=says) as raised:
        Agent(**{"node": "gw-1", "address": "10.0.0.1:80", **arguments})
    assert "secret" not in str(raised.value)


async def test_an_etcd_that_is_not_there_is_named_when_the_start_times_out(fleet: Any) -> None:
    with pytest.raises(Unavailable, match=r"not registered within 1 s: http://127.0.0.1:9: connection refused"):
        await fleet.agent(etcd="http://127.0.0.1:9", start_timeout=1.0)
