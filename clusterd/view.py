"""What one process believes of the fleet: etcd's answers in, topologies out. Pure; time comes in as an argument.

Three rules keep an ailing etcd from emptying the fleet (DESIGN: fail static):

- While etcd can't be reached, or the watch is broken, the last topology keeps serving, marked stale.
- Keys that vanish while etcd was out of reach, or within one TTL after, were not necessarily given up by their nodes:
  an etcd that was paused expires leases that could not be renewed. Their nodes stay, `unconfirmed`, for one TTL.
- The same holds when etcd was rebuilt: another cluster id, a revision or a raft term that went back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from clusterd.etcd.messages import Event, Header, KeyValue, RangeReply
from clusterd.node import Node, decode_node
from clusterd.topology import EMPTY, Change, Topology


class FleetView:
    """Folds snapshots and events into topologies. All times are monotonic seconds.

    A lease can't expire for lack of etcd alone before two thirds of its TTL are over, as nodes renew at a third. So
    silence for more than half a TTL is taken as an outage, and less is not.
    """

    def __init__(self, ttl: float, node_id: Callable[[bytes], str], now: float) -> None:
        self.topology = EMPTY
        self.ttl = ttl
        self._node_id = node_id
        self._keys: set[bytes] = set()
        self._held: set[str] = set()
        self._term = 0
        self._reached = now
        self._broken_since = now
        self._grace_until = -math.inf
        self._doubted = False

    @property
    def key_count(self) -> int:
        """How many keys etcd must have under the prefix, if nothing was missed."""
        return len(self._keys)

    @property
    def last_reached(self) -> float:
        """When the newest call that etcd is known to have answered was sent."""
        return self._reached

    @property
    def confirmed(self) -> float:
        """Until when the content was known to be etcd's."""
        return min(self._reached, self._broken_since)

    def doubt(self) -> None:
        """Note a hint that etcd was rebuilt, which the next snapshot's revision may hide: it can have grown since."""
        self._doubted = True

    def rebuilt(self, header: Header, revision: int) -> bool:
        """Whether a linearizable answer, asked for when `revision` was known, shows another history than ours."""
        return self._term > 0 and (
            header.cluster_id != self.topology.cluster_id or header.revision < revision or header.raft_term < self._term
        )

    def snapshot(self, reply: RangeReply, sent: float) -> Change:
        """Take over a full list of the keys, asked for at `sent`: what was missed comes out as one change."""
        header, rebuilt = reply.header, self._doubted or self.rebuilt(reply.header, self.topology.revision)
        self.reached(sent)
        self._broken_since = math.inf
        if rebuilt:
            self._grace_until = sent + self.ttl
        nodes = {node.id: node for node in (self._decode(kv, rebuilt=rebuilt) for kv in reply.kvs)}
        self._keys = {kv.key for kv in reply.kvs}
        kept = [] if sent >= self._grace_until else [node for node in self.topology if node.id not in nodes]
        self._held = {node.id for node in kept}
        nodes.update((node.id, node.replace(unconfirmed=True)) for node in kept)
        self._term, self._doubted = header.raft_term, False
        nodes = {node_id: nodes[node_id] for node_id in sorted(nodes)}
        after = self.topology.replaced(nodes, header.revision, cluster_id=header.cluster_id)
        return self._become(after, among=None)

    def apply(self, events: Iterable[Event], now: float) -> Change:
        """Apply one batch of events, whole."""
        latest = {event.kv.key: event for event in events}
        revision = max(event.kv.mod_revision for event in latest.values())
        put = [self._decode(event.kv) for event in latest.values() if event.type == "PUT"]
        gone = [self._node_id(event.kv.key) for event in latest.values() if event.type == "DELETE"]
        self._keys.update(event.kv.key for event in latest.values() if event.type == "PUT")
        self._keys.difference_update(event.kv.key for event in latest.values() if event.type == "DELETE")
        self._held.difference_update(node.id for node in put)
        if self._outage(now) or now < self._grace_until:
            put += self._hold(gone)
            gone = []
        after = self.topology.evolve(put, gone, revision, cluster_id=self.topology.cluster_id)
        return self._become(after, among={*gone, *(node.id for node in put)})

    def reached(self, sent: float) -> None:
        """Note that etcd answered something that was sent at that time."""
        if self._outage(sent):
            self._grace_until = sent + self.ttl
        self._reached = max(self._reached, sent)

    def synced(self, revision: int) -> Topology:
        """Note that the content is that of a later revision too; returns the topology, which says so."""
        if revision > self.topology.synced_revision:
            self.topology = self.topology.synced(revision)
        return self.topology

    def followed(self) -> None:
        """Note that a watch delivers again."""
        self._broken_since = math.inf

    def broken(self, now: float) -> None:
        """Note that no watch delivers."""
        self._broken_since = min(self._broken_since, now)

    def tick(self, now: float) -> Change:
        """Let time pass: marks the topology stale or fresh, and drops nodes that nothing confirmed in time."""
        after, dropped = self.topology, set[str]()
        if self._held and now >= self._grace_until and not self._outage(now):
            dropped, self._held = self._held, dropped
            after = after.evolve((), dropped, after.revision, cluster_id=after.cluster_id)
        stale = self._term > 0 and now - self.confirmed >= self.ttl / 2
        if stale != after.stale:
            after = after.mark(stale_since=self.confirmed if stale else None)
        return self._become(after, among=dropped)

    def next_tick(self, now: float) -> float:
        """Return when `tick` is to be called next: at the latest after half a TTL."""
        due = (self.confirmed + self.ttl / 2, self._grace_until, now + self.ttl / 2)
        return min(time for time in due if time > now)

    def _outage(self, now: float) -> bool:
        return now - self._reached >= self.ttl / 2

    def _hold(self, gone: Iterable[str]) -> list[Node]:
        nodes = [node.replace(unconfirmed=True) for node_id in gone if (node := self.topology.nodes.get(node_id))]
        self._held.update(node.id for node in nodes)
        return nodes

    def _decode(self, kv: KeyValue, *, rebuilt: bool = False) -> Node:
        node_id = self._node_id(kv.key)
        known = self.topology.nodes.get(node_id)
        if known and known.mod_revision == kv.mod_revision and not (rebuilt or known.unconfirmed):
            return known
        return decode_node(node_id, kv.value, lease=kv.lease, mod_revision=kv.mod_revision)

    def _become(self, after: Topology, among: Iterable[str] | None) -> Change:
        change = Change.between(self.topology, after, among)
        self.topology = after
        return change
