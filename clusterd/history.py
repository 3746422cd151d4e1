"""The history: who did what to which node and with which outcome, under `history/`, kept for days."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import msgspec

from clusterd.etcd.client import Client
from clusterd.etcd.lease import Lease
from clusterd.keys import Keyspace, range_end
from clusterd.records import MAX_RECORD_BYTES

HISTORY_SECONDS = 14 * 86400
"""How long an entry is kept."""


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON document of one entry.

    `what` happened: an operator's `cordon`, `uncordon`, `drain`, `change`, `undrain`; a node's `drained`, `forced`,
    `kept`, `aborted`, `undrained`. `by` is who did it (`user@host`, or the node's id), `intent` the id of the intent
    that it belongs to, `details` what can be told in a line.
    """

    at: str
    what: str
    v: int = 1
    node: str = ""
    by: str = ""
    reason: str = ""
    intent: str = ""
    details: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(HistoryEntry).decode


def decode_entry(value: bytes) -> HistoryEntry | None:
    """Return the entry, or None where the value isn't one."""
    if len(value) > MAX_RECORD_BYTES:
        return None
    try:
        return _decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def entry_name(moment: datetime, salt: int) -> str:
    """Return the last part of an entry's key: milliseconds since 1970 in hex, so that names rise, and a salt."""
    return f"{int(moment.timestamp() * 1000):012x}-{salt:08x}"


async def record_history(client: Client, keyspace: Keyspace, *entries: HistoryEntry) -> None:
    """Write entries, under one lease that lets them go after `HISTORY_SECONDS`. Raises `EtcdError`."""
    lease = await Lease.grant(client, HISTORY_SECONDS)
    for entry in entries:
        name = entry_name(datetime.now(UTC), random.getrandbits(32))
        await client.put(keyspace.history_entry(name), _encode(entry), lease=lease.id)


async def read_history(client: Client, keyspace: Keyspace, limit: int = 0) -> list[HistoryEntry]:
    """Return the newest `limit` entries (0: all), the oldest of them first. Raises `EtcdError`."""
    prefix = keyspace.history
    reply = await client.range(prefix, range_end(prefix), sort_target="KEY", sort_order="DESCEND", limit=limit)
    entries = [decode_entry(kv.value) for kv in reversed(reply.kvs)]
    return [entry for entry in entries if entry is not None]
