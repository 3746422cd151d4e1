"""Which nodes are meant, of those that etcd has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clusterctl.fleet import Entry
from clusterd.selection import NodeSelection, parse_labels

__all__ = ["Selection", "parse_labels"]


@dataclass(frozen=True, slots=True)
class Selection(NodeSelection):
    """The nodes that fulfil all conditions given; without any, all nodes."""

    def of(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return the entries that are selected."""
        return [entry for entry in entries if self.matches(entry.node)]

    def missing(self, entries: Iterable[Entry]) -> list[str]:
        """Return the ids asked for that none of the entries has."""
        there = {entry.node.id for entry in entries}
        return [node_id for node_id in self.ids if node_id not in there]
