"""What the daemon says of the fleet, a line for each thing that changed."""

from __future__ import annotations

import pytest

from clusterd.node import Node, NodeState
from clusterd.sidecar.daemon import describe
from clusterd.topology import Change, Topology

NODE = Node(id="gw-1", address="10.0.0.5:8080", lease=1, mod_revision=7)


def lines(before: list[Node], after: list[Node]) -> list[str]:
    return list(describe(Change.between(Topology.of(before, 7), Topology.of(after, 8))))


def test_who_joined_is_told_with_the_address() -> None:
    assert lines([], [NODE, Node(id="node1", foreign=True)]) == [
        "gw-1 joined (10.0.0.5:8080)",
        "node1 joined (foreign)",
    ]


def test_who_left_is_told() -> None:
    assert lines([NODE], []) == ["gw-1 left"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"weight": 7}, "weight 7"),
        ({"state": NodeState.CORDONED, "zone": "az-2"}, "zone az-2, state cordoned"),
        ({"labels": {"tier": "gold"}}, "labels {'tier': 'gold'}"),
        ({"unconfirmed": True}, "unconfirmed True"),
        ({"lease": 2}, "registered again"),
        ({}, "registered again"),
    ],
)
def test_what_was_updated_is_told_by_its_new_values(changes: dict[str, object], told: str) -> None:
    assert lines([NODE], [NODE.replace(mod_revision=8, **changes)]) == [f"gw-1 updated: {told}"]


def test_joins_leaves_and_updates_come_in_one_change() -> None:
    other, third = NODE.replace(id="gw-2"), NODE.replace(id="gw-3")
    assert lines([NODE, other], [other.replace(weight=7), third]) == [
        "gw-3 joined (10.0.0.5:8080)",
        "gw-1 left",
        "gw-2 updated: weight 7",
    ]


def test_becoming_stale_and_fresh_is_told() -> None:
    fresh = Topology.of([NODE], 7)
    stale = fresh.mark(stale_since=1.0)
    assert list(describe(Change.between(fresh, stale))) == ["stale: etcd can't confirm it"]
    assert list(describe(Change.between(stale, fresh))) == ["fresh again"]
    assert list(describe(Change.between(stale, stale.mark(stale_since=2.0)))) == []
