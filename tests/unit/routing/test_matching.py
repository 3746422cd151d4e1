"""Owners depend on the members alone: not on their order, not on the way they came to be members."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterd.node import Node
from clusterd.routing.matching import Matching, match, match_anew, rematch
from clusterd.routing.members import capacities
from clusterd.routing.ranking import Ranking, ranking
from tests.unit.routing import routing_reference as reference
from tests.unit.routing.fleets import fleets, ids, members, node, nodes, weights

SMALL = Ranking(9)
steps = st.lists(st.tuples(st.lists(st.tuples(ids, weights), max_size=3), st.integers(0, 4)), max_size=8)


@settings(max_examples=60, deadline=None)
@given(fleets())
def test_owners_are_those_of_the_specification(fleet: dict[str, Node]) -> None:
    of = [reference.Member(n.id, n.weight) for n in sorted(fleet.values(), key=lambda n: n.id)]
    assert match_anew(members(fleet.values(), SMALL), SMALL).owners.tolist() == reference.owners(of, SMALL.bits)


@settings(max_examples=40, deadline=None)
@given(fleets(), st.randoms(use_true_random=False))
def test_owners_do_not_depend_on_the_order_of_the_nodes(fleet: dict[str, Node], rng: random.Random) -> None:
    shuffled = rng.sample(list(fleet.values()), len(fleet))
    one, other = (match_anew(members(order, SMALL), SMALL) for order in (fleet.values(), shuffled))
    assert np.array_equal(one.owners, other.owners)


@settings(max_examples=150, deadline=None)
@given(fleets(max_size=40), steps)
def test_owners_do_not_depend_on_history(
    fleet: dict[str, Node], history: list[tuple[list[tuple[str, int]], int]]
) -> None:
    """Nodes join, leave and change weight, one or several at a time: repairing gives what starting anew gives."""
    matching = match_anew(members(fleet.values(), SMALL), SMALL)
    for puts, leaving in history:
        for node_id in sorted(fleet)[: min(leaving, len(fleet) - 1)]:
            del fleet[node_id]
        fleet.update((node_id, node(node_id, weight)) for node_id, weight in puts)
        matching = repaired(matching, fleet, SMALL)


@pytest.mark.parametrize("seed", range(40))
def test_owners_do_not_depend_on_history_where_slots_are_few(seed: int) -> None:
    """Two slots per node: many nodes are full, and many have room that nobody wants."""
    rng, tiny = random.Random(seed), Ranking(7)
    pool = nodes(60)
    fleet = {n.id: n for n in pool[:30]}
    matching = match_anew(members(fleet.values(), tiny), tiny)
    for _ in range(15):
        for changed in rng.sample(pool, rng.randint(1, 3)):
            if fleet.pop(changed.id, None) is None:
                fleet[changed.id] = changed.replace(weight=rng.choice((1, 5, 10, 100)))
        matching = repaired(matching, fleet, tiny)


def test_owners_do_not_depend_on_history_in_a_large_fleet() -> None:
    rng = random.Random(1)
    pool = {n.id: n for n in nodes(330, weight_of=(1, 7, 10, 3))}
    fleet = dict(list(pool.items())[:300])
    matching = match_anew(members(fleet.values(), ranking()), ranking())
    for _ in range(12):
        changed = rng.choice(list(pool.values()))
        if changed.id in fleet and rng.random() < 0.5:
            del fleet[changed.id]
        else:
            fleet[changed.id] = changed.replace(weight=rng.randint(1, 20))
        matching = repaired(matching, fleet, ranking())


def test_owners_do_not_depend_on_history_while_full_nodes_come_and_go_again() -> None:
    """One by one, so that nodes which were full have room again and get back what they had turned away."""
    pool = nodes(60, weight_of=(1, 5))
    fleet = {n.id: n for n in pool}
    matching = match_anew(members(fleet.values(), SMALL), SMALL)
    for leaving in pool[1:]:
        del fleet[leaving.id]
        matching = repaired(matching, fleet, SMALL)
    for joining in pool[1:]:
        fleet[joining.id] = joining
        matching = repaired(matching, fleet, SMALL)


def test_either_way_is_taken_and_both_give_the_same() -> None:
    small, large = (members(nodes(count), SMALL) for count in (10, 11))
    strangers = members([node(f"x-{i}") for i in range(10)], SMALL)
    for before, after in ((small, large), (large, small), (small, strangers)):
        assert np.array_equal(match(after, SMALL, match(before, SMALL)).owners, match_anew(after, SMALL).owners)


@settings(max_examples=100, deadline=None)
@given(fleets(max_size=40))
def test_no_node_is_over_its_capacity_and_all_slots_are_owned(fleet: dict[str, Node]) -> None:
    found = members(fleet.values(), SMALL)
    counts = np.bincount(match_anew(found, SMALL).owners, minlength=len(found))
    assert counts.sum() == SMALL.slots
    assert (counts <= capacities(found, SMALL.slots)).all()


def test_more_nodes_than_slots_leave_some_without() -> None:
    found = members(nodes(3 * SMALL.slots), SMALL)
    counts = np.bincount(match_anew(found, SMALL).owners, minlength=len(found))
    assert counts.sum() == SMALL.slots
    assert counts.max() <= 2


def repaired(matching: Matching, fleet: dict[str, Node], of: Ranking) -> Matching:
    """Return the matching brought up to this fleet, after checking it against one that knows no history."""
    found = members(fleet.values(), of)
    after = rematch(found, of, matching)
    assert np.array_equal(after.owners, match_anew(found, of).owners)
    return after
