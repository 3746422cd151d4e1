"""A forwarded request is served by its owner, whoever has seen which revision, and never goes round in circles."""

from __future__ import annotations

import random

import pytest

from clusterd import Action, InvalidKey, RoutedAt, Topology, UsageError, judge
from tests.unit.routing.fleets import node

BEFORE = Topology.of([node("a"), node("b")], 10, cluster_id=0xC0FFEE)
AFTER = BEFORE.evolve([node("c")], (), 12, cluster_id=0xC0FFEE)
RESTORED = Topology.of([node("b"), node("c")], 3, cluster_id=0xBEEF)
KEY = next(key for key in map(str, range(1000)) if AFTER.route(key).nodes[0].id == "c")  # moves to c
HELD = BEFORE.route(KEY).nodes[0].id
OTHER = "b" if HELD == "a" else "a"


def test_the_owner_serves() -> None:
    verdict = judge(BEFORE, HELD, KEY, RoutedAt.of(BEFORE))
    assert (verdict.action, verdict.owner) == (Action.SERVE, BEFORE.nodes[HELD])
    assert judge(AFTER, "c", KEY, RoutedAt.of(BEFORE)).action is Action.SERVE


def test_who_is_not_the_owner_forwards_to_it_at_its_own_revision() -> None:
    verdict = judge(AFTER, HELD, KEY, RoutedAt.of(BEFORE))
    assert verdict.action is Action.FORWARD
    assert verdict.owner is AFTER.nodes["c"]
    assert verdict.routed_at == RoutedAt(12, 0xC0FFEE)
    assert judge(BEFORE, OTHER, KEY, RoutedAt.of(BEFORE)).action is Action.FORWARD


@pytest.mark.parametrize("node_id", ["a", "b", "c"])
def test_who_is_behind_catches_up_first(node_id: str) -> None:
    assert judge(BEFORE, node_id, KEY, RoutedAt.of(AFTER)).action is Action.CATCH_UP


def test_a_revision_that_changed_no_node_is_caught_up_with_by_knowing_so() -> None:
    quiet = BEFORE.synced(11)
    assert quiet == BEFORE
    assert judge(BEFORE, HELD, KEY, RoutedAt(11, 0xC0FFEE)).action is Action.CATCH_UP
    assert judge(quiet, HELD, KEY, RoutedAt(11, 0xC0FFEE)).action is Action.SERVE
    assert judge(quiet, HELD, KEY, RoutedAt(12, 0xC0FFEE)).action is Action.CATCH_UP
    assert judge(quiet, OTHER, KEY, RoutedAt(11, 0xC0FFEE)).routed_at == RoutedAt(11, 0xC0FFEE)
    assert judge(quiet, OTHER, KEY, RoutedAt(9, 0xC0FFEE)).routed_at == RoutedAt.of(BEFORE)
    assert quiet.mark(stale_since=1.0).synced_revision == 11
    assert quiet.evolve((), ("a",), 13, cluster_id=0xC0FFEE).synced_revision == 13


def test_where_nobody_may_own_slots_the_request_is_rejected() -> None:
    verdict = judge(Topology.of([], 12), "a", KEY, RoutedAt(10))
    assert (verdict.action, verdict.owner) == (Action.REJECT, None)


def test_revisions_of_two_clusters_are_not_compared() -> None:
    owner = RESTORED.route(KEY).nodes[0].id
    assert judge(RESTORED, owner, KEY, RoutedAt.of(AFTER)).action is Action.SERVE
    assert judge(RESTORED, "a", KEY, RoutedAt.of(AFTER)).action is Action.CATCH_UP


def test_a_request_reaches_its_owner_however_far_nodes_are_behind() -> None:
    """Each node moves on when it has to catch up, and at random: the request ends at an owner by its own topology."""
    rng = random.Random(3)
    history = [Topology.of([node("a"), node("b"), node("c")], 1)]
    for revision in range(2, 30):
        joined = rng.choice("abcdef")
        gone = [rng.choice("abcdef")]
        history.append(history[-1].evolve([node(joined)], [i for i in gone if i != joined], revision, cluster_id=0))
    for key in map(str, range(30)):
        seen = {node_id: rng.randrange(len(history)) for node_id in "abcdef"}
        at, routed_at = "a", RoutedAt.of(history[0])
        for _ in range(2 * len(history)):
            verdict = judge(history[seen[at]], at, key, routed_at)
            if verdict.action is Action.SERVE:
                break
            if verdict.action is Action.CATCH_UP:
                seen[at] += 1
                continue
            assert verdict.owner is not None
            assert verdict.routed_at.revision >= routed_at.revision
            at, routed_at = verdict.owner.id, verdict.routed_at
        assert verdict.action is Action.SERVE
        assert verdict.routed_at.revision >= routed_at.revision


def test_where_it_was_routed_goes_into_a_header_and_back() -> None:
    routed_at = RoutedAt.of(AFTER)
    assert str(routed_at) == "c0ffee/12"
    assert RoutedAt.parse("c0ffee/12") == routed_at
    assert RoutedAt.parse("0/0") == RoutedAt(0)


@pytest.mark.parametrize("text", ["", "12", "/", "c0ffee/", "/12", "xyz/12", "c0ffee/twelve", "a/1/2"])
def test_any_other_header_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="routed"):
        RoutedAt.parse(text)


def test_a_key_of_another_kind_is_an_error() -> None:
    with pytest.raises(InvalidKey):
        judge(BEFORE, "a", 42, RoutedAt.of(BEFORE))  # type: ignore[arg-type]
