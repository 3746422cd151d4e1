"""The fleet as an operator sees it: each node's record, joined with its live figures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clusterd.etcd.client import Client
from clusterd.etcd.errors import EtcdError, PermissionDenied
from clusterd.etcd.messages import RangeReply
from clusterd.keys import Keyspace, range_end
from clusterd.node import Node, decode_node
from clusterd.status import NodeStatus, decode_status
from clusterd.topology import Topology

Figures = Mapping[str, NodeStatus]
"""Live figures by node id."""

_POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A node with its live figures; None where it published none in this run."""

    node: Node
    status: NodeStatus | None = None

    @property
    def sessions(self) -> int | None:
        """How many sessions the node says it holds; None if it doesn't say."""
        return self.status.sessions if self.status else None


@dataclass(frozen=True, slots=True)
class Fleet:
    """All nodes at one etcd revision, in the order of their ids."""

    entries: tuple[Entry, ...]
    revision: int


def join(nodes: Iterable[Node], figures: Figures) -> tuple[Entry, ...]:
    """Return nodes with their figures; those of another instance of a node aren't this one's."""
    found = ((node, figures.get(node.id)) for node in nodes)
    return tuple(Entry(node, status if status and status.instance == node.instance else None) for node, status in found)


async def read_fleet(client: Client, keyspace: Keyspace) -> Fleet:
    """Read all nodes and their figures. Raises `EtcdError`."""
    reply = await client.range(keyspace.nodes, range_end(keyspace.nodes))
    return Fleet(join(_nodes(reply, keyspace), await read_figures(client, keyspace)), reply.header.revision)


async def read_topology(client: Client, keyspace: Keyspace) -> Topology:
    """Read all nodes once, without their figures. Raises `EtcdError`."""
    reply = await client.range(keyspace.nodes, range_end(keyspace.nodes))
    return Topology.of(_nodes(reply, keyspace), reply.header.revision, cluster_id=reply.header.cluster_id)


def _nodes(reply: RangeReply, keyspace: Keyspace) -> list[Node]:
    return [
        decode_node(keyspace.node_id(kv.key), kv.value, lease=kv.lease, mod_revision=kv.mod_revision)
        for kv in reply.kvs
    ]


async def read_figures(client: Client, keyspace: Keyspace) -> Figures:
    """Read all figures; a user who may not read those sees the nodes without. Raises `EtcdError`."""
    prefix = keyspace.status
    try:
        reply = await client.range(prefix, range_end(prefix))
    except PermissionDenied:
        return {}
    decoded = {kv.key[len(prefix) :].decode("utf-8", "replace"): decode_status(kv.value) for kv in reply.kvs}
    return {node_id: status for node_id, status in decoded.items() if status is not None}


async def read_status(client: Client, keyspace: Keyspace, node_id: str) -> NodeStatus | None:
    """Read one node's figures; None where there are none, or the user may not read them. Raises `EtcdError`."""
    try:
        reply = await client.range(keyspace.status + node_id.encode())
    except PermissionDenied:
        return None
    return decode_status(reply.kvs[0].value) if reply.kvs else None


class FiguresPoll:
    """Keeps figures fresh by asking for them: nobody watches them."""

    def __init__(self, client: Client, keyspace: Keyspace, latest: Figures) -> None:
        self.latest = latest
        self._client = client
        self._keyspace = keyspace

    async def run(self) -> None:
        """Ask every two seconds, for ever; while etcd is away the last figures stay."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            with contextlib.suppress(EtcdError):
                self.latest = await read_figures(self._client, self._keyspace)
