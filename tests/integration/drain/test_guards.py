"""How many nodes drain at once is kept within limits by the nodes themselves, whoever asks them."""

from __future__ import annotations

import asyncio
from typing import Any

from clusterd.testing import EtcdServer, eventually, never


async def test_two_operators_at_once_never_exceed_their_limit_together(yard: Any) -> None:
    witness = await yard.witness()
    gateways = [await yard.gateway(f"gw-{number}", 5) for number in range(4)]
    await asyncio.gather(
        yard.drain("gw-0", "gw-1", max_unavailable="1", by="ann@ops"),
        yard.drain("gw-2", "gw-3", max_unavailable="2", by="bob@ops"),
    )
    await eventually(lambda: all(gateway.state == "drained" for gateway in gateways), timeout=20)
    await eventually(lambda: [witness.states(f"gw-{n}")[-1] for n in range(4)] == ["drained"] * 4)
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
