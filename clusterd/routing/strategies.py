"""Ways to choose a node: by the key, in turns, or by load. All of them pass over nodes that may not own slots.

The first is a pure function of the topology. The others spread work that has no key, or no need to come back to the
same node, and remember what they chose: use one instance per spreader, from one thread.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from random import Random
from typing import Protocol

from clusterd.node import Node
from clusterd.routing.hashing import Key
from clusterd.routing.router import Router


class Strategy(Protocol):
    """A way to choose a node for a key."""

    def pick(self, topology: Router, key: Key, /) -> Node | None:
        """Return the node chosen, or None where none may own slots."""


class ConsistentHashing:
    """The owner of the key: the same for everyone who asks. The default."""

    def pick(self, topology: Router, key: Key, /) -> Node | None:
        """Return the owner of the key."""
        return topology.owner(key)


class RoundRobin:
    """One node after the other, in the order of their ids, whatever the key and the weights."""

    def __init__(self) -> None:
        self._last = ""

    def pick(self, topology: Router, _key: Key, /) -> Node | None:
        """Return the node whose id follows that of the last one."""
        nodes = topology.routable
        if not nodes:
            return None
        node = nodes[bisect_right(nodes, self._last, key=lambda node: node.id) % len(nodes)]
        self._last = node.id
        return node


class SmoothWeightedRoundRobin:
    """Each node as often as its weight says, evenly spread over time, whatever the key: nginx's algorithm.

    At every pick each node earns its weight, and the one with the most pays what all have earned. A node of weight 3
    beside two of weight 1 comes as a b a c a, not a a a b c.
    """

    def __init__(self) -> None:
        self._credits: dict[str, int] = {}

    def pick(self, topology: Router, _key: Key, /) -> Node | None:
        """Return the node with the most credit, the first by id of several."""
        nodes = topology.routable
        if not nodes:
            return None
        self._credits = {node.id: self._credits.get(node.id, 0) + node.weight for node in nodes}
        chosen = max(nodes, key=lambda node: self._credits[node.id])
        self._credits[chosen.id] -= sum(node.weight for node in nodes)
        return chosen


class LeastSessions:
    """The less loaded of two nodes drawn at random, whatever the key: the power of two choices (Mitzenmacher 1996).

    Choosing the least loaded of all would send everyone to the same node until its figure is seen to have changed.
    `sessions` gives the live figures by node id, as a mapping (a node not in it has none) or a function. Loads are
    compared per weight. `random` makes the draws; give a seeded one to repeat them.
    """

    def __init__(self, sessions: Mapping[str, int] | Callable[[str], int], random: Random | None = None) -> None:
        self._sessions = sessions if callable(sessions) else lambda node_id: sessions.get(node_id, 0)
        self._random = random or Random()  # noqa: S311 - it spreads load, nothing is to be kept secret

    def pick(self, topology: Router, _key: Key, /) -> Node | None:
        """Return the less loaded of two nodes; of two with the same load, the one drawn first."""
        nodes = topology.routable
        if len(nodes) < 2:
            return nodes[0] if nodes else None
        return min(self._random.sample(nodes, 2), key=self._load)

    def _load(self, node: Node) -> float:
        return self._sessions(node.id) / node.weight
