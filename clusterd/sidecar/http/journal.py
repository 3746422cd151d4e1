"""What happened to the fleet, encoded once for all who follow it, and kept for who comes back. Pure."""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Iterable
from itertools import islice

from clusterd.aio import Crowd
from clusterd.node import Node
from clusterd.sidecar.http.encoding import NodeTexts, change_document, nodes_document
from clusterd.sidecar.http.streams import event
from clusterd.topology import EMPTY, Change, Topology

MAX_CHANGES = 1024
MAX_BYTES = 16 * 1024 * 1024

_TOGETHER = 64


class Behind(Exception):
    """A reader's place is not there any more: it needs a snapshot. Says why."""


class Journal:
    """The last changes of the topology, as events of a stream, and what the topology is after them.

    A reader has a place, a number: of what it reads next. So one that is slow costs nothing but its place, until that
    is gone.

    A topology's `version` names its content: two daemons that give it the same one have the same nodes. It is etcd's
    revision, as long as the topology is what etcd has at that revision; one that is stale, or has nodes that etcd
    doesn't confirm, is this daemon's own, and named so that no other has that name.
    """

    def __init__(self) -> None:
        self.topology = EMPTY
        self.version = "0"
        self.news = Crowd()
        self._texts = NodeTexts()
        self._events: deque[bytes] = deque()
        self._next = 0
        self._bytes = 0
        self._places: OrderedDict[str, int] = OrderedDict()
        self._run = secrets.token_hex(3)
        self._names = 0
        self._rebuilt = False
        self._nodes: tuple[str, bytes] | None = None
        self._snapshot: tuple[str, bytes] | None = None

    @property
    def place(self) -> int:
        """The place of the next change."""
        return self._next

    def begin(self, topology: Topology) -> None:
        """Start from this topology."""
        self._become(topology)

    def look(self, topology: Topology) -> None:
        """Take over a topology of which only the revision is another one; anything else comes as a change."""
        known = self.topology
        if topology is not known and (topology.stale, topology.nodes) == (known.stale, known.nodes):
            self._become(topology)

    def add(self, change: Change) -> None:
        """Add a change, and wake who waits for it."""
        before, after = change.before, change.after
        if after.revision < before.revision or after.cluster_id != before.cluster_id:
            self._forget()
        self._become(after, keep=False)
        data = event("change", change_document(change, self._texts), self.version)
        self._events.append(data)
        self._bytes += len(data)
        self._next += 1
        self._remember()
        while len(self._events) > MAX_CHANGES or (self._bytes > MAX_BYTES and len(self._events) > 1):
            self._bytes -= len(self._events.popleft())
        self._prune()
        self.news.fire()

    def place_of(self, version: str) -> int:
        """Return the place after the change that led to `version`. Raises `Behind` where that isn't known."""
        place = self._places.get(version)
        if place is None:
            raise Behind(f"{version!r} is not among the versions that are kept")
        return place

    def read(self, place: int) -> tuple[bytes, int]:
        """Return what happened from a place on, and the next place. Raises `Behind` where that is gone."""
        waiting = self._next - place
        if waiting == 0:
            return b"", place
        if waiting == 1 and self._events:
            return self._events[-1], self._next
        if waiting > len(self._events):
            raise Behind("more has happened than is kept, or etcd was rebuilt")
        start = len(self._events) - waiting
        some = list(islice(self._events, start, start + _TOGETHER))
        return b"".join(some), place + len(some)

    def snapshot(self) -> bytes:
        """Return all nodes as an event."""
        if self._snapshot is None or self._snapshot[0] != self.version:
            self._snapshot = (self.version, event("snapshot", self.nodes(), self.version))
        return self._snapshot[1]

    def nodes(self) -> bytes:
        """Return all nodes as a document."""
        if self._nodes is None or self._nodes[0] != self.version:
            self._nodes = (self.version, nodes_document(self.topology, self.topology, self._texts))
        return self._nodes[1]

    def nodes_among(self, nodes: Iterable[Node]) -> bytes:
        """Return some of the nodes as a document."""
        return nodes_document(self.topology, nodes, self._texts)

    def _become(self, topology: Topology, *, keep: bool = True) -> None:
        self.topology = topology
        self._texts.keep(topology)
        self.version = self._named(topology)
        if keep:
            self._remember()

    def _named(self, topology: Topology) -> str:
        """Return the name of a topology's content."""
        if self._rebuilt or topology.stale or any(node.unconfirmed for node in topology):
            self._names += 1
            return f"{topology.revision}-{self._run}{self._names:x}"
        return str(topology.revision)

    def _remember(self) -> None:
        """Note the place of the present version: where it was there before, what lies between comes to nothing."""
        self._places[self.version] = self._next
        self._places.move_to_end(self.version)

    def _forget(self) -> None:
        """Drop everything: revisions mean something else from now on."""
        self._rebuilt = True
        self._events.clear()
        self._places.clear()
        self._bytes = 0
        self._next += 1  # so that the place of who has read everything is gone too

    def _prune(self) -> None:
        first = self._next - len(self._events)
        while self._places and next(iter(self._places.values())) < first:
            self._places.popitem(last=False)
        while len(self._places) > 4 * MAX_CHANGES:
            self._places.popitem(last=False)
