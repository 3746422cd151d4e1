"""Looking at drains: what etcd has of each node, at one revision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clusterd.drain.intent import Intent, decode_intent
from clusterd.etcd import ops
from clusterd.etcd.client import Client
from clusterd.etcd.messages import KeyValue, TxnReply
from clusterd.keys import Keyspace
from clusterd.node import Node, decode_node
from clusterd.status import DrainProgress, decode_status

_NODES_PER_TXN = 40


@dataclass(frozen=True, slots=True)
class Look:
    """One node as etcd had it: its registration, its intent, and how this run of it says the drain goes."""

    id: str
    node: Node | None = None
    intent: Intent | None = None
    progress: DrainProgress | None = None


async def look_at(client: Client, keyspace: Keyspace, ids: Sequence[str]) -> list[Look]:
    """Look at these nodes once. Raises `EtcdError`."""
    looks: list[Look] = []
    for start in range(0, len(ids), _NODES_PER_TXN):
        chunk = ids[start : start + _NODES_PER_TXN]
        wanted = [key(node) for node in chunk for key in (keyspace.node, keyspace.intent, keyspace.node_status)]
        reply = await client.txn([], [ops.get(key) for key in wanted], [])
        looks += [_look(node, reply, 3 * index) for index, node in enumerate(chunk)]
    return looks


def _look(node_id: str, reply: TxnReply, first: int) -> Look:
    record, intent = reply.found(first), reply.found(first + 1)
    node = decode_node(node_id, record.value) if record else None
    return Look(node_id, node, decode_intent(intent.value) if intent else None, _progress(node, reply.found(first + 2)))


def _progress(node: Node | None, kv: KeyValue | None) -> DrainProgress | None:
    """Return what a node published; a former run's figures aren't this one's."""
    status = decode_status(kv.value) if kv else None
    return status.drain if status and node and status.instance == node.instance else None
