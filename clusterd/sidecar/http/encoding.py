"""Nodes and changes as JSON, each node encoded once for as long as its record stays the same. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from clusterd.node import Node
from clusterd.sidecar.http.answers import encode
from clusterd.sidecar.http.documents import NodeDocument, TopologyDocument
from clusterd.topology import Change, Topology


class NodeTexts:
    """The JSON of nodes, kept for those of the present topology; `document` makes what is encoded of a node."""

    def __init__(self, document: Callable[[Node], Any] = NodeDocument.of) -> None:
        self._document = document
        self._texts: dict[str, tuple[Node, msgspec.Raw]] = {}

    def keep(self, topology: Topology) -> None:
        """Drop what is kept of nodes that are gone."""
        if len(self._texts) > 2 * len(topology) + 16:
            self._texts = {node_id: kept for node_id, kept in self._texts.items() if node_id in topology}

    def of(self, node: Node) -> msgspec.Raw:
        """Return the document of a node, encoded."""
        kept = self._texts.get(node.id)
        if kept is None or kept[0] is not node:
            kept = self._texts[node.id] = (node, msgspec.Raw(encode(self._document(node))))
        return kept[1]


def nodes_document(topology: Topology, nodes: Iterable[Node], texts: NodeTexts) -> bytes:
    """Return these nodes of a topology as a `NodesDocument`."""
    return encode({**_head(topology), "nodes": [texts.of(node) for node in nodes]})


def change_document(change: Change, texts: NodeTexts) -> bytes:
    """Return a change as a `ChangeDocument`."""
    return encode(
        {
            **_head(change.after),
            "joined": [texts.of(node) for node in change.joined],
            "updated": [texts.of(update.after) for update in change.updated],
            "left": [node.id for node in change.left],
        }
    )


def topology_document(topology: Topology) -> TopologyDocument:
    """Return what a topology is, without its nodes."""
    return TopologyDocument(**_head(topology), nodes=len(topology))


def _head(topology: Topology) -> dict[str, Any]:
    return {
        "revision": topology.revision,
        "cluster": f"{topology.cluster_id:x}",
        "stale": topology.stale,
    }
