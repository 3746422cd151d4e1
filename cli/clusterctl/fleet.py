"""The fleet as an operator sees it: each node's record, joined with its live figures and what it leads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clusterd.election import list_elections
from clusterd.etcd.client import Client
from clusterd.etcd.errors import EtcdError, PermissionDenied
from clusterd.etcd.messages import RangeReply
from clusterd.keys import Keyspace, range_end
from clusterd.node import Node, decode_node
from clusterd.status import NodeStatus, decode_status
from clusterd.topology import Topology

Figures = Mapping[str, NodeStatus]
"""Live figures by node id."""

Leads = Mapping[str, tuple[str, ...]]
"""The names of the elections that are led, by what the leader calls itself: a node's id, mostly."""

_POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Entry:
    """A node with its live figures, None where it published none in this run.

    `leads` are the names of the elections that it leads; None where that can't be told.
    """

    node: Node
    status: NodeStatus | None = None
    leads: tuple[str, ...] | None = None

    @property
    def sessions(self) -> int | None:
        """How many sessions the node says it holds; None if it doesn't say."""
        return self.status.sessions if self.status else None


@dataclass(frozen=True, slots=True)
class Fleet:
    """All nodes at one etcd revision, in the order of their ids."""

    entries: tuple[Entry, ...]
    revision: int


def join(nodes: Iterable[Node], figures: Figures, leads: Leads | None = None) -> tuple[Entry, ...]:
    """Return nodes with their figures and what they lead; figures of another instance of a node aren't this one's."""
    return tuple(_entry(node, figures.get(node.id), leads) for node in nodes)


def _entry(node: Node, status: NodeStatus | None, leads: Leads | None) -> Entry:
    ours = status if status and status.instance == node.instance else None
    return Entry(node, ours, None if leads is None else leads.get(node.id, ()))


async def read_fleet(client: Client, keyspace: Keyspace, *, with_leads: bool = False) -> Fleet:
    """Read all nodes and their figures, and what they lead if that is wanted. Raises `EtcdError`."""
    reply = await client.range(keyspace.nodes, range_end(keyspace.nodes))
    leads = await read_leads(client, keyspace) if with_leads else None
    entries = join(_nodes(reply, keyspace), await read_figures(client, keyspace), leads)
    return Fleet(entries, reply.header.revision)


async def read_topology(client: Client, keyspace: Keyspace) -> Topology:
    """Read all nodes once, without their figures. Raises `EtcdError`."""
    reply = await client.range(keyspace.nodes, range_end(keyspace.nodes))
    return Topology.of(_nodes(reply, keyspace), reply.header.revision, cluster_id=reply.header.cluster_id)


def _nodes(reply: RangeReply, keyspace: Keyspace) -> list[Node]:
    return [
        decode_node(keyspace.node_id(kv.key), kv.value, lease=kv.lease, mod_revision=kv.mod_revision)
        for kv in reply.kvs
    ]


async def read_leads(client: Client, keyspace: Keyspace) -> Leads | None:
    """Read who leads what; None for a user who may not read that. Raises `EtcdError`."""
    try:
        elections = await list_elections(client, keyspace)
    except PermissionDenied:
        return None
    leads: dict[str, tuple[str, ...]] = {}
    for election in elections:
        leads[election.leader.id] = (*leads.get(election.leader.id, ()), election.name)
    return leads


async def read_node_ids(client: Client, keyspace: Keyspace) -> frozenset[str] | None:
    """Read the ids of all nodes; None for a user who may not read those. Raises `EtcdError`."""
    try:
        reply = await client.range(keyspace.nodes, range_end(keyspace.nodes), keys_only=True)
    except PermissionDenied:
        return None
    return frozenset(keyspace.node_id(kv.key) for kv in reply.kvs)


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


class FleetPoll:
    """Keeps fresh what nobody watches, the figures and what is led, by asking for it."""

    def __init__(self, client: Client, keyspace: Keyspace) -> None:
        self._client = client
        self._keyspace = keyspace
        self._figures: Figures = {}
        self._leads: Leads | None = None

    def join(self, nodes: Iterable[Node]) -> tuple[Entry, ...]:
        """Return nodes with what was last heard of them."""
        return join(nodes, self._figures, self._leads)

    async def ask(self) -> None:
        """Ask once. Raises `EtcdError`."""
        self._figures = await read_figures(self._client, self._keyspace)
        self._leads = await read_leads(self._client, self._keyspace)

    async def run(self) -> None:
        """Ask every two seconds, for ever; while etcd is away the last answers stay."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            with contextlib.suppress(EtcdError):
                await self.ask()
