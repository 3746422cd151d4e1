"""Agents at the same revision route every key alike, whatever they have been through to get there."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from clusterd import Change, NodeState, Topology
from clusterd.testing import EtcdServer


def assert_agreed(fleet: Any, *, shared: int) -> None:
    """Every revision has one verdict; of at least so many several agents told."""
    verdicts = fleet.verdicts()
    assert {at: digests for at, digests in verdicts.items() if len(set(digests)) > 1} == {}
    assert sum(len(digests) > 1 for digests in verdicts.values()) >= shared


def owners(topology: Topology) -> list[str | None]:
    found = topology.table.get().owners_of(range(topology.slots))  # type: ignore[arg-type]
    return [node and node.id for node in found]


def assert_moves_add_up(changes: list[Change]) -> None:
    """Applied to the owners before, the moves give the owners after; one change goes on where the last one ended."""
    for change in changes:
        expected = owners(change.before)
        for move in change.moved:
            assert expected[move.slot] == (move.before and move.before.id)
            expected[move.slot] = move.after and move.after.id
        assert expected == owners(change.after)
    assert all(last.after is following.before for last, following in pairwise(changes))


async def test_while_nodes_join_die_and_leave(fleet: Any) -> None:
    first = await fleet.observer("here-1", zone="a")
    await fleet.observer("here-2", zone="b", weight=50)
    dies, leaves, _ = await fleet.remote("there-1", "there-2", "there-3")
    await fleet.sees("here-1", "here-2", "there-1", "there-2", "there-3")

    await dies.kill()
    await fleet.remote("there-4")
    await leaves.leave()
    await first.agent.update(weight=300)
    await fleet.observer("here-3")
    await fleet.sees("here-1", "here-2", "here-3", "there-3", "there-4")
    before = await fleet.settles()
    cordoned = await first.agent.update(state=NodeState.CORDONED)

    after = await fleet.settles(cordoned)
    assert after.revision > before.revision
    assert after.digest != before.digest
    assert_agreed(fleet, shared=4)
    assert_moves_add_up(first.changes)


async def test_after_a_restart_of_etcd(fleet: Any, etcd: EtcdServer) -> None:
    first = await fleet.observer("here-1", zone="a")
    await fleet.observer("here-2", zone="b")
    _, dies = await fleet.remote("there-1", "there-2")
    await fleet.sees("here-1", "here-2", "there-1", "there-2")
    before = await fleet.settles()

    await etcd.restart()
    await fleet.remote("there-3")
    await dies.kill()
    await fleet.sees("here-1", "here-2", "there-1", "there-3")
    newcomer = await fleet.observer("here-3")
    await fleet.sees("here-1", "here-2", "here-3", "there-1", "there-3")

    after = await fleet.settles()
    assert after.revision > before.revision
    assert (after.cluster_id, after.confirmed) == (before.cluster_id, True)
    assert after == newcomer.lines[-1]
    assert_agreed(fleet, shared=2)
    assert_moves_add_up(first.changes)


async def test_with_values_of_others_among_the_nodes(fleet: Any, etcd: EtcdServer) -> None:
    await etcd.admin.put("/nodes/go-svc", "active")
    first = await fleet.observer("here-1")
    await fleet.remote("there-1")
    await etcd.admin.put(b"/nodes/odd\xff", '{"v": 1, "id": "gw", "weight": 1e9}')
    await etcd.admin.delete("/nodes/go-svc")
    await fleet.sees("here-1", "there-1", r"odd\xff")
    await fleet.settles()
    assert_agreed(fleet, shared=2)
    assert_moves_add_up(first.changes)
    assert first.agent.topology.shares().keys() == {"here-1", "there-1"}
