"""The topology: an immutable snapshot of all nodes at one etcd revision, and what changed between two of them.

Everything here is a pure function of its arguments: no I/O, no clock, no randomness.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from clusterd.node import Node, NodeState
from clusterd.routing.moves import Moves
from clusterd.routing.router import Router
from clusterd.routing.table import LazyTable


class Topology(Router):
    """All nodes at one etcd revision. Never changes; two at one revision of one cluster hold the same nodes.

    `nodes` maps id to `Node`, in the order of the ids. `revision` is etcd's at which the content was current,
    `cluster_id` the id of the etcd cluster it came from (0: not from etcd). `stale_since` is None while etcd confirms
    the content, else the `time.monotonic()` seconds since when it couldn't be confirmed: it keeps serving.
    `synced_revision` is the newest revision at which the content is known to be the same: `revision`, or a later one
    that somebody waited for (`agent.wait_for`), with no change of a node in between.
    """

    __slots__ = ("__weakref__", "cluster_id", "nodes", "revision", "stale_since", "synced_revision")

    nodes: MappingProxyType[str, Node]
    revision: int
    cluster_id: int
    stale_since: float | None
    synced_revision: int

    def __init__(
        self,
        nodes: Mapping[str, Node],
        revision: int = 0,
        *,
        cluster_id: int = 0,
        stale_since: float | None = None,
    ) -> None:
        self.nodes = MappingProxyType(dict(nodes))
        self.revision = revision
        self.cluster_id = cluster_id
        self.stale_since = stale_since
        self.synced_revision = revision
        self.table = LazyTable(self.nodes.values())

    @classmethod
    def of(cls, nodes: Iterable[Node], revision: int = 0, *, cluster_id: int = 0) -> Topology:
        """Return the topology of these nodes; it needs no etcd (tools, tests, benches)."""
        by_id = {node.id: node for node in nodes}
        return cls(dict(sorted(by_id.items())), revision, cluster_id=cluster_id)

    @property
    def stale(self) -> bool:
        """Whether etcd could not confirm the content lately; it is the last known one."""
        return self.stale_since is not None

    @property
    def active(self) -> tuple[Node, ...]:
        """The nodes in state `active`, in the order of their ids."""
        return tuple(node for node in self if node.state is NodeState.ACTIVE)

    def evolve(self, puts: Iterable[Node], deletes: Iterable[str], revision: int, *, cluster_id: int) -> Topology:
        """Return the topology after these nodes were put and these ids deleted, as one step."""
        nodes = self.nodes.copy()  # dict() would ask the view for one node after another
        for node_id in deletes:
            nodes.pop(node_id, None)
        known = len(nodes)
        nodes.update((node.id, node) for node in puts)
        if len(nodes) > known:
            nodes = {node_id: nodes[node_id] for node_id in sorted(nodes)}
        return self.replaced(nodes, revision, cluster_id=cluster_id, stale_since=self.stale_since)

    def replaced(
        self, nodes: Mapping[str, Node], revision: int, *, cluster_id: int, stale_since: float | None = None
    ) -> Topology:
        """Return a topology of other nodes (in the order of their ids) that works its slots out from this one's."""
        after = Topology(nodes, revision, cluster_id=cluster_id, stale_since=stale_since)
        after.table = self.table.followed_by(after.nodes.values())
        return after

    def mark(self, *, stale_since: float | None) -> Topology:
        """Return the same content, marked stale since that monotonic time, or fresh (None)."""
        marked = Topology(self.nodes, self.revision, cluster_id=self.cluster_id, stale_since=stale_since)
        marked.synced_revision, marked.table = self.synced_revision, self.table
        return marked

    def synced(self, revision: int) -> Topology:
        """Return the same content, known to be that of a later revision too."""
        synced = self.mark(stale_since=self.stale_since)
        synced.synced_revision = max(revision, self.synced_revision)
        return synced

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __contains__(self, node_id: object) -> bool:
        return node_id in self.nodes

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Topology):
            return NotImplemented
        return (self.revision, self.cluster_id) == (
            other.revision,
            other.cluster_id,
        ) and self.nodes == other.nodes

    def __hash__(self) -> int:
        return hash((self.revision, self.cluster_id))

    def __repr__(self) -> str:
        stale = ", stale" if self.stale else ""
        return f"<Topology of {len(self)} nodes at revision {self.revision}{stale}>"


EMPTY = Topology({})


@dataclass(frozen=True, slots=True)
class Update:
    """A node that was there before and after, with another record."""

    before: Node
    after: Node


@dataclass(frozen=True)
class Change:
    """What turned one topology into the next: `before` into `after`.

    `joined`, `left` and `updated` are in the order of the node ids. All three can be empty: then only the freshness
    (`after.stale`) changed.
    """

    before: Topology
    after: Topology
    joined: tuple[Node, ...]
    left: tuple[Node, ...]
    updated: tuple[Update, ...]

    @classmethod
    def between(cls, before: Topology, after: Topology, among: Iterable[str] | None = None) -> Change:
        """Return the change that leads from `before` to `after`, however many revisions lie between them.

        `among` are the ids that can differ, where the caller knows them: all others are not looked at.
        """
        old, new = before.nodes, after.nodes
        ids = sorted({*old, *new} if among is None else set(among))
        pairs = [(old.get(node_id), new.get(node_id)) for node_id in ids]
        return cls(
            before,
            after,
            joined=tuple(now for was, now in pairs if was is None and now is not None),
            left=tuple(was for was, now in pairs if was is not None and now is None),
            updated=tuple(Update(was, now) for was, now in pairs if was and now and was is not now and was != now),
        )

    @cached_property
    def moved(self) -> Moves:
        """The slots that moved, from whom to whom: worked out when first asked for. Raises as `Router` does."""
        return self.before.moves_to(self.after)

    @property
    def revision(self) -> int:
        """The etcd revision at which the change was complete."""
        return self.after.revision

    def __bool__(self) -> bool:
        return bool(self.joined or self.left or self.updated or self.before.stale != self.after.stale)
