"""A node's live figures, under `status/`: read by who asks, never watched by the fleet."""

from __future__ import annotations

import msgspec

from clusterd.records import Unreadable, reader


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON document under `status/<id>`: how many sessions the node holds, by its own count at `at` (RFC 3339)."""

    v: int = 1
    instance: str = ""
    sessions: int = 0
    at: str = ""


_encode = msgspec.json.Encoder().encode
_read = reader(NodeStatus)


def encode_status(status: NodeStatus) -> bytes:
    """Return the document to be written."""
    return _encode(status)


def decode_status(value: bytes) -> NodeStatus | None:
    """Return the figures, or None where the value isn't such a document."""
    try:
        status = _read(value)
    except Unreadable:
        return None
    return status if status.sessions >= 0 else None
