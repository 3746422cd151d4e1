"""What a topology answers about keys, from the owner of one to the fallbacks of another, and what it costs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clusterd
from clusterd import InvalidKey, Node, NodeState, Topology, UsageError
from clusterd.routing import SLOTS, table
from tests.unit.routing.fleets import fleets, keys, node

ZONED = [node(f"gw-{i}", zone="abc"[i % 3]) for i in range(9)]


@settings(max_examples=30, deadline=None)
@given(fleets(), keys, st.integers(1, 15), st.sampled_from([None, "a", "nowhere"]))
def test_a_route_starts_with_the_owner_and_goes_on_with_distinct_nodes(
    fleet: dict[str, Node], key: clusterd.routing.Key, n: int, zone: str | None
) -> None:
    topology = Topology.of(fleet.values(), revision=7)
    route = topology.route(key, n, zone)
    assert route.owner is route.nodes[0] is topology.owner(key) is topology.owner_of(route.slot)
    assert topology.owners([key, key]) == [route.owner, route.owner]
    assert route.slot == topology.slot_of(key)
    assert route.revision == 7
    assert len({n.id for n in route.nodes}) == len(route.nodes) == min(n, len(fleet))
    assert route.nodes == topology.route(key, 99, zone).nodes[:n]


@settings(max_examples=30, deadline=None)
@given(fleets(), keys, st.randoms(use_true_random=False))
def test_routes_are_the_same_in_whatever_order_the_nodes_came(fleet, key, rng) -> None:  # type: ignore[no-untyped-def]
    shuffled = rng.sample(list(fleet.values()), len(fleet))
    assert Topology.of(fleet.values()).route(key, 5) == Topology.of(shuffled).route(key, 5)
    assert Topology(fleet).route(key, 5) == Topology({n.id: n for n in shuffled}).route(key, 5)


def test_fallbacks_are_in_other_zones_first_and_take_turns_by_zone() -> None:
    topology = Topology.of(ZONED)
    for i in range(50):
        home, *zones = (n.zone for n in topology.route(f"user-{i}", 9).nodes)
        assert home not in zones[:6]
        assert [zones[at] != zones[at + 1] for at in (0, 2, 4)] == [True] * 3
        assert zones[6:] == [home, home]


def test_a_zone_is_preferred_among_the_fallbacks_and_the_owner_stays() -> None:
    topology = Topology.of(ZONED)
    for i in range(50):
        key = f"user-{i}"
        plain, near = topology.route(key, 9), topology.route(key, 9, zone="b")
        assert near.owner is plain.owner
        in_b = [n.zone == "b" for n in near.nodes[1:]]
        assert in_b == sorted(in_b, reverse=True)
        assert set(near.nodes) == set(plain.nodes)


def test_without_zones_the_first_fallback_inherits_the_slot() -> None:
    topology = Topology.of(node(f"gw-{i}") for i in range(10))
    for i in range(50):
        owner, heir = topology.route(f"user-{i}", 2).nodes
        after = topology.evolve((), [owner.id], 2, cluster_id=0)
        assert after.owner(f"user-{i}") is heir


def test_str_keys_are_their_utf_8() -> None:
    topology = Topology.of(ZONED)
    assert topology.route("café") == topology.route("café".encode())
    assert topology.owner("café") is topology.owner("café".encode())
    assert topology.owners(["café", "x"]) == topology.owners(["café".encode(), "x"])


@pytest.mark.parametrize(
    "key",
    [None, 42, 4.2, ("a",), bytearray(b"a"), memoryview(b"a"), "\ud800"],
    ids=lambda key: type(key).__name__,
)
@pytest.mark.parametrize(
    "ask",
    [
        Topology.route,
        Topology.owner,
        Topology.slot_of,
        lambda topology, key: topology.owners(["good", key]),
        lambda topology, key: topology.route(key, 2),
    ],
)
def test_a_key_of_any_other_kind_is_an_error(ask: Callable[[Topology, object], object], key: object) -> None:
    with pytest.raises(InvalidKey, match=r"key .*surrogate|str or bytes, not"):
        ask(Topology.of(ZONED), key)
    assert issubclass(InvalidKey, TypeError)


@pytest.mark.parametrize(
    "nodes",
    [
        [],
        [node("a", weight=0)],
        [node("a").replace(state=state) for state in NodeState if state is not NodeState.ACTIVE],
        [node("a").replace(address="")],
        [node("a").replace(foreign=True)],
    ],
    ids=["empty", "no weight", "not active", "no address", "foreign"],
)
def test_where_no_node_may_own_slots_nobody_does(nodes: list[Node]) -> None:
    topology = Topology.of(nodes, revision=3)
    assert topology.route("key", 3) == clusterd.Route(None, (), topology.slot_of("key"), 3)
    assert topology.route("key").nodes == ()
    assert topology.owner("key") is None
    assert topology.owners(["key", b"key"]) == [None, None]
    assert topology.owner_of(0) is None
    assert topology.routable == ()
    assert topology.shares() == {}


def test_nodes_that_may_not_own_slots_are_in_no_route() -> None:
    away = [node("cordoned").replace(state=NodeState.CORDONED), node("weightless", 0)]
    assert Topology.of([*ZONED, *away]).route("key", 99).nodes == Topology.of(ZONED).route("key", 99).nodes


@pytest.mark.parametrize("weight", [-1, 1_000_001, 10**30])
def test_a_weight_out_of_range_is_an_error(weight: int) -> None:
    with pytest.raises(UsageError, match="out of range"):
        Topology.of([node("a", weight)]).route("key")


def test_the_greatest_weight_leaves_others_their_share() -> None:
    shares = Topology.of([node("a", clusterd.node.MAX_WEIGHT), node("b", clusterd.node.MAX_WEIGHT // 2)]).shares()
    assert shares["a"].slots == pytest.approx(shares["a"].fair, rel=0.01)
    assert shares["b"].slots + shares["a"].slots == SLOTS


@pytest.mark.parametrize("n", [0, -1])
def test_a_route_of_no_nodes_is_an_error(n: int) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        Topology.of(ZONED).route("key", n)


@pytest.mark.parametrize("slot", [-1, SLOTS])
def test_a_slot_out_of_range_is_an_error(slot: int) -> None:
    with pytest.raises(UsageError, match="no slot"):
        Topology.of(ZONED).owner_of(slot)


def test_the_number_of_slots_is_fixed() -> None:
    assert Topology.of([]).slots == Topology.of(ZONED).slots == SLOTS == 2**18


def test_what_is_never_routed_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*_: object) -> None:
        pytest.fail("a slot table was worked out that nobody asked for")

    monkeypatch.setattr(table, "eligible", unwanted)
    before = Topology.of(ZONED)
    after = before.evolve([node("new")], ["gw-1"], 2, cluster_id=0).mark(stale_since=1.0)
    assert clusterd.Change.between(before, after)


def test_a_marked_topology_shares_the_table_whichever_is_asked_first() -> None:
    topology = Topology.of(ZONED)
    marked = topology.mark(stale_since=1.0)
    assert marked.table.get() is topology.table.get()
    assert marked.route("key") == topology.route("key")


def test_a_change_that_moves_nothing_keeps_the_owners_but_shows_the_new_nodes() -> None:
    topology = Topology.of(ZONED)
    owner = topology.owner("key")
    assert owner is not None
    after = topology.evolve([owner.replace(labels={"build": "2"})], [], 2, cluster_id=0)
    assert after.table.get().owners is topology.table.get().owners
    assert after.owner("key") is after.nodes[owner.id]


def test_old_topologies_are_let_go_routed_or_not() -> None:
    topology = Topology.of(ZONED)
    topology.owner("key")
    seen = []
    for revision in range(2, 10):
        seen.append(weakref.ref(topology))
        topology = topology.evolve([node(f"n-{revision}")], [], revision, cluster_id=0)
        if revision % 3 == 0:
            topology.owner("key")
    gc.collect()
    assert [ref() for ref in seen] == [None] * 8


def test_an_old_table_is_let_go_once_the_next_is_worked_out() -> None:
    topology = Topology.of(ZONED)
    old = weakref.ref(topology.table.get())
    topology = topology.evolve([node("new")], [], 2, cluster_id=0)
    assert old() is not None
    topology.owner("key")
    gc.collect()
    assert old() is None


def test_shares_are_the_slots_owned_and_the_fair_ones() -> None:
    topology = Topology.of([node("a", 300), node("b", 100), node("c", 0)])
    shares = topology.shares()
    assert {node_id: share.fair for node_id, share in shares.items()} == {"a": SLOTS * 0.75, "b": SLOTS * 0.25}
    owned = [topology.owner_of(slot) for slot in range(SLOTS)]
    assert shares["a"].slots == sum(1 for found in owned if found is topology.nodes["a"])
