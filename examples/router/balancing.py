"""Which node a request goes to, and to which next when that one fails."""

from __future__ import annotations

from collections.abc import Callable, Collection

from clusterd import (
    ConsistentHashing,
    LeastSessions,
    Node,
    RoundRobin,
    SmoothWeightedRoundRobin,
    Strategy,
    Topology,
    UsageError,
)
from examples.router.upstreams import Upstreams

_FALLBACKS = 8


class Balancer:
    """Picks by one strategy; nodes that failed lately come last, and those that were tried not at all."""

    def __init__(self, strategy: str, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._make = _strategies(upstreams)[_known(strategy)]
        self._by_service: dict[str, Strategy] = {}
        self._keyless: dict[str, Strategy] = {}

    def choose(self, service: str, pool: Topology, key: str | None, tried: Collection[str] = ()) -> Node | None:
        """Return the node to ask next; None where all were tried. Without a key hashing takes nodes in turns."""
        strategy = self._strategy(service, key)
        node = strategy.pick(pool, key or "")
        if node is None or self._sound(node, tried):
            return node
        if isinstance(strategy, ConsistentHashing):
            return self._first(pool.route(key or "", n=_FALLBACKS).nodes, tried)
        left = [each for each in pool.routable if each.id not in tried]
        return strategy.pick(Topology.of([each for each in left if self._sound(each, tried)] or left), "")

    def _strategy(self, service: str, key: str | None) -> Strategy:
        if key is None and self._make is ConsistentHashing:
            return self._keyless.setdefault(service, RoundRobin())
        # Each service has its own turns: one strategy for all would skip nodes as requests for others come between.
        found = self._by_service.get(service)
        if found is None:
            found = self._by_service[service] = self._make()
        return found

    def _first(self, nodes: tuple[Node, ...], tried: Collection[str]) -> Node | None:
        left = [node for node in nodes if node.id not in tried]
        return next((node for node in left if self._sound(node, tried)), left[0] if left else None)

    def _sound(self, node: Node, tried: Collection[str]) -> bool:
        return node.id not in tried and self._upstreams.of(node).healthy


def _strategies(upstreams: Upstreams) -> dict[str, Callable[[], Strategy]]:
    return {
        "hash": ConsistentHashing,
        "round-robin": RoundRobin,
        "weighted": SmoothWeightedRoundRobin,
        "least-sessions": lambda: LeastSessions(upstreams.active),
    }


def _known(strategy: str) -> str:
    names = _strategies(Upstreams(0))
    if strategy not in names:
        raise UsageError(f"there is no strategy {strategy!r}: give one of {', '.join(names)}")
    return strategy
