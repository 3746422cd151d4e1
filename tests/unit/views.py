"""What etcd answers, made up for views: node keys, events, lists, and what is to be shown of them."""

from __future__ import annotations

from clusterd.etcd.messages import Event, Header, KeyValue, RangeReply
from clusterd.keys import Keyspace
from clusterd.node import Node, decode_node, encode_node
from clusterd.topology import Change, Topology
from clusterd.view import FleetView

TTL = 10.0
SPACE = Keyspace()
NAMES = (b"gw-1", b"gw-2", b"gw-3", b"a/b", b"\xff", b"\\xff", b"")


def key(name: str | bytes) -> bytes:
    return SPACE.nodes + (name if isinstance(name, bytes) else name.encode())


def kv(name: str | bytes, revision: int, *, lease: int = 1, weight: int = 100) -> KeyValue:
    """What etcd has at the key of a node that put its record at `revision`; a name that is no id gets a bare word."""
    node_id = SPACE.node_id(key(name))
    try:
        value = encode_node(Node(id=node_id, address="10.0.0.5:8080", weight=weight))
    except ValueError:
        value = b"active"
    return KeyValue(key=key(name), value=value, create_revision=revision, mod_revision=revision, version=1, lease=lease)


def put(name: str | bytes, revision: int, *, weight: int = 100) -> Event:
    return Event(kv=kv(name, revision, weight=weight))


def deleted(name: str | bytes, revision: int) -> Event:
    return Event(kv=KeyValue(key=key(name), mod_revision=revision), type="DELETE")


def listing(*kvs: KeyValue, revision: int, cluster_id: int = 3, raft_term: int = 2) -> RangeReply:
    header = Header(cluster_id=cluster_id, revision=revision, raft_term=raft_term)
    return RangeReply(header=header, kvs=tuple(sorted(kvs, key=lambda kv: kv.key)), count=len(kvs))


def expected(kvs: dict[bytes, KeyValue]) -> dict[str, Node]:
    found = (
        decode_node(SPACE.node_id(kv.key), kv.value, lease=kv.lease, mod_revision=kv.mod_revision)
        for kv in kvs.values()
    )
    return {node.id: node for node in found}


def ids(change: Change) -> tuple[str, str, str]:
    """Who joined, left and was updated."""
    return (
        " ".join(node.id for node in change.joined),
        " ".join(node.id for node in change.left),
        " ".join(update.after.id for update in change.updated),
    )


def doubted(topology: Topology) -> str:
    return " ".join(node.id for node in topology if node.unconfirmed)


def answering(view: FleetView, until: float) -> FleetView:
    """Let etcd answer often enough up to a time."""
    while view.last_reached < until:
        view.reached(min(view.last_reached + TTL / 4, until))
    return view
