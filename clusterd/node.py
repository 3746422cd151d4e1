"""A node, and the record that it keeps under `nodes/`."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from clusterd.errors import InvalidAddress, RecordTooLarge, UsageError
from clusterd.keys import check_node_id
from clusterd.records import MAX_RECORD_BYTES, reader

RECORD_VERSION = 1
MAX_WEIGHT = 1_000_000
DEFAULT_WEIGHT = 100

_PORT = re.compile(r"[0-9]{1,5}")
_NAME = re.compile(r"[^\s:/\[\]]+")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[^\s/\[\]]+)?\]")


class NodeState(enum.StrEnum):
    """What a node says it is doing; only an `ACTIVE` one owns slots."""

    STARTING = "starting"
    ACTIVE = "active"
    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """The JSON document under `nodes/<id>` (docs/protocol.md). Fields that a later version adds are passed over."""

    id: str
    v: int = RECORD_VERSION
    instance: str = ""
    address: str = ""
    state: NodeState = NodeState.ACTIVE
    weight: int = DEFAULT_WEIGHT
    zone: str = ""
    labels: dict[str, str] = {}
    endpoints: dict[str, str] = {}
    started_at: str = ""
    agent: str = ""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node as a topology shows it.

    `labels` and `endpoints` are to be read, not changed. `foreign` marks a value that isn't a clusterd record;
    `unconfirmed` a node that was known before etcd lost its data or was away, and has not registered again yet.
    `lease` is the id of the lease that binds the record (0: none), `mod_revision` the etcd revision that wrote it.
    """

    id: str
    address: str = ""
    weight: int = DEFAULT_WEIGHT
    zone: str = ""
    state: NodeState = NodeState.ACTIVE
    labels: Mapping[str, str] = {}
    endpoints: Mapping[str, str] = {}
    instance: str = ""
    started_at: str = ""
    agent: str = ""
    foreign: bool = False
    unconfirmed: bool = False
    lease: int = 0
    mod_revision: int = 0

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def routable(self) -> bool:
        """Whether the node may own slots: active, with an address, and with a record of ours."""
        return self.state is NodeState.ACTIVE and not self.foreign and bool(self.address)

    def replace(self, **changes: Any) -> Node:
        """Return a copy with these fields changed."""
        return msgspec.structs.replace(self, **changes)


_encode = msgspec.json.Encoder().encode
_read = reader(NodeRecord)


def encode_node(node: Node) -> bytes:
    """Return the record to be written for `node`.

    Raises `InvalidNodeId`, `InvalidAddress`, `UsageError` or `RecordTooLarge` where it may not be written: every
    reader must be able to read it back.
    """
    check_node_id(node.id)
    check_address(node.address)
    check_weight(node.weight)
    try:
        value = _encode(_record(node))
        if len(value) <= MAX_RECORD_BYTES:
            _read(value)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise UsageError(f"the record of node {node.id!r} can't be written: {error}") from error
    if len(value) > MAX_RECORD_BYTES:
        raise RecordTooLarge(
            f"the record of node {node.id!r} has {len(value)} bytes, more than the {MAX_RECORD_BYTES} allowed: "
            "shorten its labels or endpoints"
        )
    return value


def decode_node(node_id: str, value: bytes, *, lease: int = 0, mod_revision: int = 0) -> Node:
    """Return the node that `value` describes; whatever isn't a usable record of that node comes back `foreign`."""
    try:
        record = _read(value)
        _check_record(record, node_id)
    except ValueError:
        return _foreign(node_id, lease, mod_revision)
    return Node(
        id=record.id,
        address=record.address,
        weight=record.weight,
        zone=record.zone,
        state=record.state,
        labels=record.labels,
        endpoints=record.endpoints,
        instance=record.instance,
        started_at=record.started_at,
        agent=record.agent,
        lease=lease,
        mod_revision=mod_revision,
    )


def check_address(address: str) -> str:
    """Return `address` if it is `host:port` (an IPv6 host in brackets), or raise `InvalidAddress`."""
    host, colon, port = address.rpartition(":")
    if not colon or not host:
        raise InvalidAddress(f"address {address!r} has no port: give it as host:port, for example 10.0.0.5:8080")
    if not (_PORT.fullmatch(port) and 0 < int(port) < 65536):
        raise InvalidAddress(f"address {address!r} has port {port!r}, which is not a number from 1 to 65535")
    if not (host.isprintable() and (_NAME.fullmatch(host) or _BRACKETED.fullmatch(host))):
        raise InvalidAddress(f"address {address!r} has an unusable host: an IPv6 address goes in brackets, [::1]:8080")
    return address


def check_weight(weight: int) -> int:
    """Return `weight` if a node may have it (0 owns no slots), or raise `UsageError`."""
    if not (isinstance(weight, int) and 0 <= weight <= MAX_WEIGHT):
        raise UsageError(f"weight {weight!r} is out of range: give a whole number from 0 to {MAX_WEIGHT}")
    return weight


def _record(node: Node) -> NodeRecord:
    return NodeRecord(
        id=node.id,
        instance=node.instance,
        address=node.address,
        state=node.state,
        weight=node.weight,
        zone=node.zone,
        labels=dict(node.labels),
        endpoints=dict(node.endpoints),
        started_at=node.started_at,
        agent=node.agent,
    )


def _check_record(record: NodeRecord, node_id: str) -> None:
    if record.v != RECORD_VERSION:
        raise UsageError("a version of the record that only later clusterds can read")
    if record.id != node_id:
        raise UsageError("the record names another node than its key")
    check_node_id(record.id)
    check_address(record.address)
    check_weight(record.weight)


def _foreign(node_id: str, lease: int, mod_revision: int) -> Node:
    return Node(id=node_id, state=NodeState.ACTIVE, foreign=True, weight=0, lease=lease, mod_revision=mod_revision)
