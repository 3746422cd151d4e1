"""Answers to where keys go, made of parts that are kept while the topology stays the same. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from clusterd.node import Node
from clusterd.routing import RoutedAt
from clusterd.routing.table import SlotTable
from clusterd.sidecar.http.answers import encode
from clusterd.sidecar.http.documents import RoutesDocument, Target
from clusterd.sidecar.http.encoding import NodeTexts
from clusterd.topology import EMPTY, Topology

_MOST_ORDERS = 50_000

Order = tuple[Node, ...]


class Routes:
    """Routes by the newest topology, for the gateway beside the node `own`."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._texts = NodeTexts(self._target)
        self._topology = EMPTY
        self._orders: dict[tuple[int, int, str | None], tuple[str, ...]] = {}
        self._table = EMPTY.table.get()
        self._head = b""
        self.look(EMPTY)

    def look(self, topology: Topology) -> None:
        """Route by this topology from now on."""
        if topology is self._topology and self._head:
            return
        if topology.table is not self._topology.table and not self._as_before(topology):
            self._orders.clear()
        self._topology = topology
        self._texts.keep(topology)
        stale = b"true" if topology.stale else b"false"
        head = b'"routed_at":%b,"revision":%d,"stale":%b'
        self._head = head % (encode(str(RoutedAt.of(topology))), topology.revision, stale)

    def one(self, key: str, n: int, zone: str | None) -> bytes:
        """Return where a key goes, as a `RouteDocument`."""
        slot = self._topology.slot_of(key)
        texts = [bytes(self._texts.of(node)) for node in self._order(self._topology, key, slot, n, zone)]
        owner = texts[0] if texts else b"null"
        parts = (encode(key), slot, self._head, owner, b",".join(texts))
        return b'{"key":%b,"slot":%d,%b,"owner":%b,"nodes":[%b]}' % parts

    def _as_before(self, topology: Topology) -> bool:
        """Whether this topology has the same orders: they depend on ids, weights and zones, and nothing else."""
        table, self._table = self._table, topology.table.get()
        return table.matching is self._table.matching and _zones(table) == _zones(self._table)

    def orders(self, topology: Topology, keys: Sequence[str], n: int, zone: str | None) -> list[Order]:
        """Return the nodes for each of these keys, by this topology."""
        if n == 1:
            return [(node,) if node else () for node in topology.owners(keys)]
        return [self._order(topology, key, topology.slot_of(key), n, zone) for key in keys]

    def document(self, topology: Topology, orders: Sequence[Order]) -> RoutesDocument:
        """Return where keys go, given the nodes for each."""
        named = {node.id: node for order in orders for node in order}
        return RoutesDocument(
            routed_at=str(RoutedAt.of(topology)),
            revision=topology.revision,
            stale=topology.stale,
            routes=[[node.id for node in order] for order in orders],
            nodes={node_id: self._target(node) for node_id, node in named.items()},
        )

    def _order(self, topology: Topology, key: str, slot: int, n: int, zone: str | None) -> Order:
        """Return the nodes for a key: all keys of a slot go to the same ones."""
        if n == 1 or topology.table is not self._topology.table:
            return topology.route(key, n, zone).nodes
        order = self._orders.get((slot, n, zone))
        if order is None:
            if len(self._orders) >= _MOST_ORDERS:
                self._orders.clear()
            order = self._orders[slot, n, zone] = tuple(node.id for node in topology.route(key, n, zone).nodes)
        return tuple(topology.nodes[node_id] for node_id in order)

    def _target(self, node: Node) -> Target:
        return Target(node.id, node.address, node.zone, dict(node.endpoints), node.id == self._own)


def _zones(table: SlotTable) -> list[str]:
    return [node.zone for node in table.nodes]
