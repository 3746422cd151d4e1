"""Which nodes a selection means."""

from __future__ import annotations

import pytest
from clusterctl.fleet import Entry
from clusterctl.selectors import Selection, parse_labels

from clusterd.errors import UsageError
from clusterd.node import Node, NodeState

ENTRIES = [
    Entry(Node(id="a", zone="z1", labels={"tier": "edge", "canary": ""})),
    Entry(Node(id="b", zone="z2", labels={"tier": "core"}, state=NodeState.CORDONED)),
    Entry(Node(id="c", zone="z1")),
]


def selected(selection: Selection) -> str:
    return "".join(entry.node.id for entry in selection.of(ENTRIES))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["tier=edge"], "a"),
        (["tier!=edge"], "bc"),
        (["tier"], "ab"),
        (["canary="], "a"),
        (["canary"], "a"),
        (["tier", "tier!=core"], "a"),
        (["tier,tier!=core"], "a"),
        (["tier=edge, canary"], "a"),
        (["nope"], ""),
    ],
)
def test_labels(labels: list[str], expected: str) -> None:
    assert selected(Selection(labels=parse_labels(labels))) == expected


@pytest.mark.parametrize("text", ["", "=x", "!=x", "a b", "a,", "a=b=c d", "!a"])
def test_a_selector_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="label selector"):
        parse_labels([text])


def test_conditions_add_up() -> None:
    assert selected(Selection()) == "abc"
    assert selected(Selection(zone="z1")) == "ac"
    assert selected(Selection(state="cordoned")) == "b"
    assert selected(Selection(ids=("a", "b"), zone="z1")) == "a"


def test_only_a_selection_with_conditions_is_one() -> None:
    assert not Selection()
    assert Selection(zone="")
    assert Selection(labels=parse_labels(["k"]))


def test_ids_that_nobody_has_are_missing() -> None:
    assert Selection(ids=("x", "a", "y")).missing(ENTRIES) == ["x", "y"]
