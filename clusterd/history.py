"""The history: who did what to which node and with which outcome, under `history/`, kept for days."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from clusterd.etcd import ops
from clusterd.etcd.client import Client
from clusterd.etcd.lease import Lease
from clusterd.etcd.ops import Op
from clusterd.keys import Keyspace, range_end
from clusterd.records import reader_or_none

HISTORY_SECONDS = 14 * 86400
"""How long an entry is kept."""

_CLOCKS_DIFFER = timedelta(hours=1)


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON document of one entry.

    `what` happened: an operator's `cordon`, `uncordon`, `drain`, `change`, `undrain`, `prune`, `depose` (a leader); a
    node's `drained`, `forced`, `kept`, `aborted`, `undrained`, `cordoned` (its drain became a cordon). `by` is who did
    it, or asked for it (`user@host`, or the node's id), `intent` the id of the intent that it belongs to, `details`
    what can be told in a line.
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
_read = reader_or_none(HistoryEntry)


def decode_entry(value: bytes) -> HistoryEntry | None:
    """Return the entry, or None where the value isn't one."""
    return _read(value)


def entry_name(moment: datetime, salt: int) -> str:
    """Return the last part of an entry's key: milliseconds since 1970 in hex, so that names rise, and a salt."""
    return f"{int(moment.timestamp() * 1000):012x}-{salt:08x}"


def new_name() -> str:
    """Return a name for an entry of this moment."""
    return entry_name(datetime.now(UTC), random.getrandbits(32))


async def record_history(client: Client, keyspace: Keyspace, *entries: HistoryEntry) -> None:
    """Write entries, under one lease that lets them go after `HISTORY_SECONDS`. Raises `EtcdError`."""
    await write_entries(client, keyspace, {new_name(): entry for entry in entries})


async def write_entries(client: Client, keyspace: Keyspace, entries: Mapping[str, HistoryEntry]) -> None:
    """Write entries under these names, as `record_history` does; doing it again changes nothing. Raises `EtcdError`."""
    lease = await Lease.grant(client, HISTORY_SECONDS)
    for name, entry in entries.items():
        await client.put(keyspace.history_entry(name), _encode(entry), lease=lease.id)


async def new_entry(client: Client, keyspace: Keyspace, entry: HistoryEntry) -> tuple[bytes, Op]:
    """Return a key for an entry, and the operation that writes it, for a transaction. Raises `EtcdError`."""
    lease = await Lease.grant(client, HISTORY_SECONDS)
    key = keyspace.history_entry(new_name())
    return key, ops.put(key, _encode(entry), lease=lease.id)


async def is_told(client: Client, keyspace: Keyspace, entry: HistoryEntry, since: datetime) -> bool:
    """Whether the history has the same of that node and intent, written since then (clocks may differ by an hour).

    Raises `EtcdError`.
    """
    prefix, first = keyspace.history, keyspace.history_entry(entry_name(since - _CLOCKS_DIFFER, 0))
    reply = await client.range(first, range_end(prefix))
    told = (decode_entry(kv.value) for kv in reply.kvs)
    return any(e and (e.what, e.node, e.intent) == (entry.what, entry.node, entry.intent) for e in told)


async def read_history(client: Client, keyspace: Keyspace, limit: int = 0) -> list[HistoryEntry]:
    """Return the newest `limit` entries (0: all), the oldest of them first. Raises `EtcdError`."""
    prefix = keyspace.history
    reply = await client.range(prefix, range_end(prefix), sort_target="KEY", sort_order="DESCEND", limit=limit)
    entries = [decode_entry(kv.value) for kv in reversed(reply.kvs)]
    return [entry for entry in entries if entry is not None]
