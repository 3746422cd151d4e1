"""`Change.moved`: exactly the slots whose owner is another node, and who it was and is."""

from __future__ import annotations

from hypothesis import given, settings

from clusterd import Change, Move, Node, Topology
from tests.unit.routing.fleets import fleets, node

FLEET = [node(f"gw-{i}") for i in range(10)]


def owner_ids(topology: Topology) -> list[str | None]:
    return [found and found.id for found in topology.table.get().owners_of(range(topology.slots))]  # type: ignore[arg-type]


@settings(max_examples=15, deadline=None)
@given(fleets(max_size=4), fleets(max_size=4))
def test_moves_are_the_slots_whose_owners_differ(old: dict[str, Node], new: dict[str, Node]) -> None:
    before, after = Topology.of(old.values(), 1), Topology.of(new.values(), 2)
    pairs = enumerate(zip(owner_ids(before), owner_ids(after), strict=True))
    moved = Change.between(before, after).moved
    assert [(m.slot, m.before and m.before.id, m.after and m.after.id) for m in moved] == [
        (slot, was, now) for slot, (was, now) in pairs if was != now
    ]


def test_moves_are_worked_out_once_and_only_when_asked_for() -> None:
    before = Topology.of(FLEET, 1)
    change = Change.between(before, before.evolve([node("new")], [], 2, cluster_id=0))
    assert before.table.worked_out is None
    assert change.moved is change.moved


def test_moves_can_be_told_apart_by_node() -> None:
    before = Topology.of(FLEET, 1)
    moved = Change.between(before, before.evolve([node("new")], ["gw-3"], 2, cluster_id=0)).moved
    leaving, arriving = moved.leaving("gw-3"), moved.arriving("new")
    assert {m.before and m.before.id for m in leaving} == {"gw-3"}
    assert {m.after and m.after.id for m in arriving} == {"new"}
    assert len(leaving) == before.shares()["gw-3"].slots
    assert len(moved.leaving("new")) == len(moved.arriving("gw-3")) == len(moved.leaving("unheard-of")) == 0


def test_a_slot_tells_whether_it_moved() -> None:
    before = Topology.of(FLEET, 1)
    after = before.evolve([], ["gw-3"], 2, cluster_id=0)
    moved = Change.between(before, after).moved
    for slot in range(100):
        move = moved.at(slot)
        if before.owner_of(slot) is before.nodes["gw-3"]:
            assert move == Move(slot, before.nodes["gw-3"], after.owner_of(slot))
        else:
            assert move is None
    assert moved.at(before.slots) is None


def test_moves_are_a_sequence() -> None:
    before = Topology.of(FLEET, 1)
    moved = Change.between(before, before.evolve([], ["gw-3"], 2, cluster_id=0)).moved
    assert moved[0] == next(iter(moved))
    assert moved[-1] == list(moved)[-1]
    assert list(moved[5:50:7]) == list(moved)[5:50:7]
    assert moved[0] in moved
    assert repr(moved) == f"<Moves of {len(moved)} slots>"


def test_from_and_to_an_empty_fleet_every_slot_moves() -> None:
    empty, full = Topology.of([], 1), Topology.of(FLEET, 2)
    filled, emptied = Change.between(empty, full).moved, Change.between(full, empty).moved
    assert len(filled) == len(emptied) == full.slots
    assert filled[0] == Move(0, None, full.owner_of(0))
    assert emptied[0] == Move(0, full.owner_of(0), None)
    assert len(emptied.leaving("gw-1")) == full.shares()["gw-1"].slots
    assert not Change.between(empty, Topology.of([], 3)).moved


def test_a_node_that_comes_back_as_another_instance_keeps_its_slots() -> None:
    before = Topology.of(FLEET, 1)
    after = before.evolve([FLEET[3].replace(instance="second", address="10.0.0.9:80")], [], 2, cluster_id=0)
    change = Change.between(before, after)
    assert change.updated
    assert not change.moved
