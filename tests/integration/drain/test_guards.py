"""How many nodes drain at once is kept within limits by the nodes themselves, whoever asks them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from clusterd.drain.operator import change_intent, place_intents, read_intent
from clusterd.keys import Keyspace
from clusterd.testing import EtcdServer, etcd_binaries, eventually, never

on_every_version = pytest.mark.parametrize(
    "clusterd_etcd_binary", etcd_binaries(), ids=str, indirect=True, scope="session"
)


@on_every_version
async def test_two_operators_at_once_never_exceed_their_limit_together(yard: Any) -> None:
    witness = await yard.witness()
    gateways = [await yard.gateway(f"gw-{number}", 5) for number in range(4)]
    await asyncio.gather(
        yard.drain("gw-0", "gw-1", max_unavailable="1", by="ann@ops"),
        yard.drain("gw-2", "gw-3", max_unavailable="2", by="bob@ops"),
    )
    await eventually(lambda: all(gateway.state == "drained" for gateway in gateways), timeout=20)
    await eventually(lambda: [witness.states(f"gw-{n}")[-1:] for n in range(4)] == [["drained"]] * 4)
    assert witness.most_at_once("draining") <= 2

    draining: set[str] = set()
    for node, state in witness.events:
        draining = draining | {node} if state == "draining" else draining - {node}
        assert len(draining) == 1 or not draining & {"gw-0", "gw-1"}


async def test_the_whole_cohort_is_out_of_the_slots_before_the_first_session_moves(yard: Any) -> None:
    witness = await yard.witness()
    gateways = [await yard.gateway(f"gw-{number}", 3) for number in range(3)]
    first = yard.intent(cohort_size=3)
    await yard.drain("gw-0", cohort=first.cohort, cohort_size=3)
    await yard.blocked("gw-0", "1 of its 3 intents")
    await yard.drain("gw-1", "gw-2", cohort=first.cohort, cohort_size=3)
    await eventually(lambda: all(gateway.state == "drained" for gateway in gateways))
    begun = next(index for index, (_, state) in enumerate(witness.events) if state == "draining")
    assert {node for node, state in witness.events[:begun] if state == "cordoned"} == {"gw-0", "gw-1", "gw-2"}


async def test_a_member_of_the_cohort_that_is_down_holds_nobody_up(yard: Any) -> None:
    gateway = await yard.gateway("gw-0", 3)
    await yard.drain("gw-0", "gone")
    await eventually(lambda: gateway.state == "drained", timeout=5)


async def test_the_permit_of_a_dead_node_goes_with_its_lease(yard: Any, etcd: EtcdServer) -> None:
    lease = await etcd.admin.lease_grant(3)
    await etcd.admin.put(f"/permits/drain/{lease:x}", b'{"node":"ghost"}', lease=lease)
    gateway = await yard.gateway("gw-1", 3)
    await yard.drain("gw-1", max_unavailable="1")
    progress = await yard.blocked("gw-1", "a permit: ghost drains already")
    assert progress.waits_for_permit
    assert gateway.state == "cordoned"
    await eventually(lambda: gateway.state == "drained")


@on_every_version
async def test_a_cohort_drains_in_the_order_of_its_plan(yard: Any) -> None:
    witness = await yard.witness()
    for number in range(4):
        await yard.gateway(f"gw-{number}", 3)
    cohort = {"cohort": "c", "cohort_size": 4, "max_unavailable": "1", "settle": 0.0}
    order = [2, 0, 3, 1]
    intents = {f"gw-{number}": yard.intent(**cohort, order=turn) for turn, number in enumerate(order)}
    await place_intents(yard.client, Keyspace(), intents)
    await eventually(lambda: [witness.states(f"gw-{n}")[-1:] for n in range(4)] == [["drained"]] * 4, timeout=30)
    done = [node for node, state in witness.events if state == "drained"]  # a short `draining` may never be put
    assert list(dict.fromkeys(done)) == [f"gw-{number}" for number in order]
    assert witness.most_at_once("draining") == 1


async def test_while_its_operator_is_still_placing_it_a_cohort_waits(yard: Any) -> None:
    gateway = await yard.gateway("gw-0", 3)
    (view,) = await yard.drain("gw-0", placing=True, cohort_size=2, settle=0.0)
    await yard.blocked("gw-0", "not all of its nodes have been asked yet")
    assert gateway.state == "cordoned"
    placed = {"gw-0": replace(view.intent, placing=False, cohort_size=1)}
    await place_intents(yard.client, Keyspace(), placed, {"gw-0": view})
    await eventually(lambda: gateway.state == "drained")


async def test_another_limit_of_a_drain_that_waits_lets_it_begin(yard: Any) -> None:
    gateways = [await yard.gateway(f"gw-{number}", 100) for number in range(2)]
    await yard.drain("gw-0", rate=5.0, max_unavailable="1", settle=0.0)
    await eventually(lambda: gateways[0].moves)
    (view,) = await yard.drain("gw-1", max_unavailable="1", settle=0.0)
    await yard.blocked("gw-1", "a permit: gw-0 drains already")
    first = await read_intent(yard.client, Keyspace(), "gw-0")
    await change_intent(yard.client, Keyspace(), view, max_unavailable="2")
    await never(lambda: gateways[1].moves, 0.3)  # the other one's limit is still 1
    await change_intent(yard.client, Keyspace(), first, max_unavailable=None)
    await eventually(lambda: gateways[1].state == "drained")


async def test_enough_nodes_must_stay_active(yard: Any) -> None:
    gateway = await yard.gateway("gw-1", 3)
    await yard.gateway("gw-2")
    await yard.drain("gw-1", min_active="2")
    await yard.blocked("gw-1", "1 would remain of the 2 that must")
    await never(lambda: gateway.moves, 0.3)
    await yard.gateway("gw-3")
    await eventually(lambda: gateway.state == "drained")


async def test_a_permit_taken_away_by_hand_stops_the_moving_until_it_is_had_again(yard: Any, etcd: EtcdServer) -> None:
    gateway = await yard.gateway("gw-1", 200)
    await yard.drain("gw-1", rate=20.0, max_unavailable="1")
    await eventually(lambda: gateway.moves)
    lease = await etcd.admin.lease_grant(60)
    (own,) = await etcd.admin.range("/permits/drain/")
    await etcd.admin.put(f"/permits/drain/{lease:x}", b'{"node":"other"}', lease=lease)
    await etcd.admin.delete(own.key)
    await yard.blocked("gw-1", "a permit: other drains already")
    moved = len(gateway.moves)
    await never(lambda: len(gateway.moves) > moved, 0.5)
    await etcd.admin.lease_revoke(lease)
    await eventually(lambda: len(gateway.moves) > moved)
