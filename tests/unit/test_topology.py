"""Topologies never change; a change leads from one to the next and leaves nothing out."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.node import Node, NodeState
from clusterd.topology import EMPTY, Change, Topology, Update

NODES = st.builds(Node, id=st.sampled_from("abcdefg"), weight=st.integers(0, 2), mod_revision=st.integers(1, 2))
TOPOLOGIES = st.builds(Topology.of, st.lists(NODES), st.integers(0, 9))


def nodes(ids: str, **fields: int) -> list[Node]:
    return [Node(id=node_id, **fields) for node_id in ids]


def applied(change: Change, to: Iterable[Node]) -> dict[str, Node]:
    """What a reader has who knows `to` and follows `change`."""
    mine = {node.id: node for node in to}
    for node in change.left:
        assert mine.pop(node.id) == node
    for node in change.joined:
        assert node.id not in mine
        mine[node.id] = node
    for update in change.updated:
        assert mine[update.before.id] == update.before != update.after
        mine[update.after.id] = update.after
    return mine


@given(TOPOLOGIES, TOPOLOGIES)
def test_a_change_applied_to_what_was_gives_what_is(before: Topology, after: Topology) -> None:
    change = Change.between(before, after)
    assert applied(change, before) == dict(after.nodes)
    assert change.revision == after.revision
    assert bool(change) == (before.nodes != after.nodes)
    for part in (change.joined, change.left, [update.after for update in change.updated]):
        assert [node.id for node in part] == sorted(node.id for node in part)


@given(TOPOLOGIES, st.lists(NODES), st.sets(st.sampled_from("abcdefg")), st.sets(st.sampled_from("abcdefg")))
def test_looking_only_at_what_was_touched_finds_the_same_change(
    before: Topology, puts: list[Node], deletes: set[str], more: set[str]
) -> None:
    after = before.evolve(puts, deletes, before.revision + 1, cluster_id=0)
    touched = {*deletes, *more, *(node.id for node in puts)}
    assert Change.between(before, after, among=touched) == Change.between(before, after)


@given(TOPOLOGIES, st.lists(NODES), st.sets(st.sampled_from("abcdefgh")))
def test_a_topology_evolves_as_a_dictionary_would(before: Topology, puts: list[Node], deletes: set[str]) -> None:
    content = dict(before.nodes)
    model = {node_id: node for node_id, node in content.items() if node_id not in deletes}
    model |= {node.id: node for node in puts}
    after = before.evolve(puts, deletes, 10, cluster_id=3)
    assert list(after.nodes.items()) == sorted(model.items())
    assert (after.revision, after.cluster_id, after.stale_since) == (10, 3, before.stale_since)
    assert dict(before.nodes) == content


def test_a_change_names_who_joined_left_and_was_updated() -> None:
    before, after = Topology.of(nodes("bac"), 1), Topology.of([*nodes("db"), *nodes("c", weight=7)], 2)
    assert Change.between(before, after) == Change(
        before,
        after,
        joined=tuple(nodes("d")),
        left=tuple(nodes("a")),
        updated=(Update(Node(id="c"), Node(id="c", weight=7)),),
    )


def test_a_change_of_revision_alone_is_nothing_to_tell() -> None:
    assert not Change.between(Topology.of(nodes("ab"), 1), Topology.of(nodes("ab"), 2))


def test_becoming_stale_or_fresh_is_a_change_without_nodes() -> None:
    fresh = Topology.of(nodes("ab"), 5, cluster_id=3)
    stale = fresh.mark(stale_since=12.5)
    assert (stale.stale, stale.stale_since, stale.revision, stale.cluster_id) == (True, 12.5, 5, 3)
    assert stale.nodes == fresh.nodes
    assert not fresh.stale
    change = Change.between(fresh, stale)
    assert change
    assert change.joined == change.left == change.updated == ()
    assert not Change.between(stale, stale.mark(stale_since=13.0))
    assert not stale.mark(stale_since=None).stale


def test_a_topology_stays_stale_while_it_evolves() -> None:
    stale = EMPTY.mark(stale_since=12.5)
    assert stale.evolve(nodes("a"), (), 1, cluster_id=3).stale_since == 12.5


def test_nobody_can_change_a_topology() -> None:
    content = {"a": Node(id="a")}
    topology = Topology(content)
    content.clear()
    assert "a" in topology
    with pytest.raises(TypeError):
        topology.nodes["b"] = Node(id="b")  # type: ignore[index]
    with pytest.raises(AttributeError):
        topology.nodes["a"].weight = 7  # type: ignore[misc]


def test_a_topology_is_made_of_nodes_in_any_order() -> None:
    topology = Topology.of(nodes("cab"), revision=7)
    assert [node.id for node in topology] == ["a", "b", "c"]
    assert len(topology) == 3
    assert topology.revision == 7
    assert "b" in topology
    assert "d" not in topology
    assert repr(topology) == "<Topology of 3 nodes at revision 7>"
    assert repr(topology.mark(stale_since=0.0)) == "<Topology of 3 nodes at revision 7, stale>"


def test_active_nodes_are_those_that_say_so() -> None:
    topology = Topology.of(Node(id=state.value, state=state) for state in NodeState)
    assert [node.id for node in topology.active] == ["active"]


def test_topologies_are_equal_that_hold_the_same_nodes_at_one_revision_of_one_cluster() -> None:
    one = Topology.of(nodes("ab"), 7, cluster_id=3)
    assert one == Topology.of(nodes("ba"), 7, cluster_id=3) == one.mark(stale_since=1.0)
    assert hash(one) == hash(Topology.of(nodes("ba"), 7, cluster_id=3))
    assert one != Topology.of(nodes("ab"), 8, cluster_id=3)
    assert one != Topology.of(nodes("ab"), 7, cluster_id=4)
    assert one != Topology.of(nodes("a"), 7, cluster_id=3)
    assert one != "ab"
