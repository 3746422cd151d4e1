"""Fleets for the routing tests, made by hypothesis or by hand."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from clusterd.node import MAX_WEIGHT, Node
from clusterd.routing.members import Members, eligible, members_of
from clusterd.routing.ranking import Ranking

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,7}", fullmatch=True)
weights = st.one_of(st.integers(1, 10), st.integers(1, MAX_WEIGHT))
keys = st.one_of(st.text(st.characters(codec="utf-8")), st.binary())


def node(node_id: str, weight: int = 100, zone: str = "") -> Node:
    return Node(id=node_id, address="10.0.0.1:80", weight=weight, zone=zone)


def nodes(count: int, weight_of: Iterable[int] = (100,)) -> list[Node]:
    """Return that many nodes; the weights are repeated over them."""
    cycle = tuple(weight_of)
    return [node(f"gw-{i}", cycle[i % len(cycle)]) for i in range(count)]


def members(fleet: Iterable[Node], ranking: Ranking) -> Members:
    return members_of(eligible(fleet), ranking)


def fleets(max_size: int = 12) -> st.SearchStrategy[dict[str, Node]]:
    """Fleets of one node or more that may own slots, by id."""
    zones = st.sampled_from(["", "a", "b", "c"])
    return st.dictionaries(ids, st.tuples(weights, zones), min_size=1, max_size=max_size).map(
        lambda found: {node_id: node(node_id, *rest) for node_id, rest in found.items()}
    )
