"""Strategies other than the key's owner: fair in the long run, and blind to nodes that may not own slots."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from clusterd import (
    ConsistentHashing,
    LeastSessions,
    NodeState,
    RoundRobin,
    SmoothWeightedRoundRobin,
    Strategy,
    Topology,
)
from tests.unit.routing.fleets import node

AWAY = [node("away").replace(state=NodeState.DRAINING), node("weightless", 0)]
FLEET = Topology.of([node("a", 500), node("b", 100), node("c", 100), *AWAY])
STRATEGIES = [ConsistentHashing(), RoundRobin(), SmoothWeightedRoundRobin(), LeastSessions({})]


def picks(strategy: Strategy, count: int, topology: Topology = FLEET) -> list[str]:
    found = [strategy.pick(topology, f"key-{i}") for i in range(count)]
    return [picked.id for picked in found if picked]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
def test_only_nodes_that_may_own_slots_are_picked(strategy: Strategy) -> None:
    assert set(picks(strategy, 200)) == {"a", "b", "c"}
    assert strategy.pick(Topology.of(AWAY), "key") is None
    assert picks(strategy, 3, Topology.of([node("only"), *AWAY])) == ["only"] * 3


def test_consistent_hashing_picks_the_owner() -> None:
    assert picks(ConsistentHashing(), 50) == [FLEET.route(f"key-{i}").nodes[0].id for i in range(50)]


def test_round_robin_takes_turns_and_goes_on_from_where_it_was() -> None:
    strategy = RoundRobin()
    assert picks(strategy, 5) == ["a", "b", "c", "a", "b"]
    assert picks(strategy, 3, FLEET.evolve([node("bb")], ["b"], 2, cluster_id=0)) == ["bb", "c", "a"]


def test_smooth_weighted_round_robin_spreads_as_nginx_does() -> None:
    assert picks(SmoothWeightedRoundRobin(), 7) == ["a", "a", "b", "a", "c", "a", "a"]


def test_smooth_weighted_round_robin_honours_weights_after_a_change() -> None:
    strategy = SmoothWeightedRoundRobin()
    picks(strategy, 3)
    after = FLEET.evolve([node("d", 300)], ["c"], 2, cluster_id=0)
    assert Counter(picks(strategy, 900, after))["d"] == pytest.approx(300, abs=2)


def test_least_sessions_prefers_the_less_loaded_for_its_weight() -> None:
    strategy = LeastSessions({"a": 400, "b": 100, "c": 101}, Random(1))
    found = Counter(picks(strategy, 300))
    assert found["c"] == 0
    assert found["a"] == pytest.approx(200, abs=30)  # it wins the two draws of three that it is in


def test_least_sessions_follows_live_figures() -> None:
    sessions = Counter[str]()
    strategy = LeastSessions(lambda node_id: sessions[node_id], Random(1))
    for _ in range(700):
        sessions.update(picks(strategy, 1))
    assert sessions["b"] == pytest.approx(100, abs=25)
    assert sessions["a"] == pytest.approx(500, abs=50)
