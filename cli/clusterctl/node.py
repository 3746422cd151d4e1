"""`clusterctl node`: everything that is known about one node."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from clusterctl.completion import complete_node_ids
from clusterctl.durations import humanize
from clusterctl.fleet import Entry, join, read_leads, read_status
from clusterctl.options import Command, current_screen, current_settings
from clusterctl.render import documents
from clusterctl.render.fleet import age, entry_document, state_style, state_text
from clusterctl.render.tables import Cell, Heading, Table
from clusterctl.render.text import parse_time, plural, printable_bytes
from clusterctl.screen import Screen, now
from clusterctl.settings import Settings
from clusterd.errors import NothingMatched
from clusterd.etcd.client import Client
from clusterd.etcd.messages import KeyValue, LeaseReply
from clusterd.keys import NODE_ID, Keyspace, range_end
from clusterd.node import decode_node

_MOST_RAW_BYTES = 1024
_NO_LEASE = LeaseReply()


@dataclass(frozen=True, slots=True)
class Details:
    """A node with what etcd knows of its key and its lease."""

    entry: Entry
    key: KeyValue
    lease: LeaseReply


@click.command(cls=Command)
@click.argument("node_id", metavar="ID", shell_complete=complete_node_ids)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Form of the output.",
)
def node(node_id: str, output: str) -> None:
    """Show everything about one node: its record, its figures, what it leads, its lease, its revisions."""
    asyncio.run(_show(current_settings(), current_screen(), node_id, output))


async def _show(settings: Settings, screen: Screen, node_id: str, output: str) -> None:
    async with Client(settings.etcd) as client:
        details = await read_details(client, settings, node_id)
    if output == "table":
        screen.show(as_table(details, now()))
    else:
        render = documents.as_json if output == "json" else documents.as_yaml
        screen.write(render(as_document(details)))


async def read_details(client: Client, settings: Settings, node_id: str) -> Details:
    """Read all about one node, whoever wrote its key. Raises `NothingMatched`, `EtcdError`."""
    keyspace = settings.keyspace
    key = await _find(client, keyspace, node_id)
    if key is None:
        raise NothingMatched(f"no node {node_id}")
    found = decode_node(keyspace.node_id(key.key), key.value, lease=key.lease, mod_revision=key.mod_revision)
    status = await read_status(client, keyspace, found.id)
    lease = await client.time_to_live(key.lease) if key.lease else _NO_LEASE
    leads = await read_leads(client, keyspace)
    return Details(join([found], {found.id: status} if status else {}, leads)[0], key, lease)


async def _find(client: Client, keyspace: Keyspace, node_id: str) -> KeyValue | None:
    """Return the key of a node; that of a foreign one is found by the id that it is shown with, however odd."""
    prefix = keyspace.nodes
    ours = NODE_ID.fullmatch(node_id)
    reply = await (client.range(prefix + node_id.encode()) if ours else client.range(prefix, range_end(prefix)))
    return next((kv for kv in reply.kvs if keyspace.node_id(kv.key) == node_id), None)


def as_document(details: Details) -> dict[str, Any]:
    """Return the details as JSON and YAML show them."""
    entry, key, lease = details.entry, details.key, details.lease
    return {
        **entry_document(entry),
        "sessions_at": entry.status.at if entry.status else None,
        "lease_granted": lease.grantedTTL or None,
        "lease_remaining": lease.TTL if lease.grantedTTL else None,
        "create_revision": key.create_revision,
        "version": key.version,
        "raw": _raw(details),
    }


def as_table(details: Details, moment: datetime) -> Table:
    """Return the details as rows of a name and a value, leaving out what there is nothing of."""
    node, key = details.entry.node, details.key
    rows = [
        ("id", node.id, "bold"),
        ("state", state_text(node), state_style(node)),
        ("address", node.address, ""),
        ("zone", node.zone, ""),
        ("weight", "" if node.foreign else str(node.weight), ""),
        *_multiple("label", node.labels),
        *_multiple("endpoint", node.endpoints),
        ("sessions", _sessions(details.entry, moment), ""),
        ("leads", ", ".join(details.entry.leads or ()), "bold"),
        ("instance", node.instance, ""),
        ("started", _with_age(node.started_at, moment), ""),
        ("agent", node.agent, ""),
        ("lease", _lease(details), "" if node.lease else "yellow"),
        ("created", f"revision {key.create_revision}", ""),
        ("changed", f"revision {key.mod_revision}, version {key.version} of the key", ""),
        ("value", _raw(details) or "", "red"),
    ]
    headings = [Heading("FIELD"), Heading("VALUE")]
    return Table(headings, [[Cell(name, "dim"), Cell(value, style)] for name, value, style in rows if value])


def _multiple(name: str, values: Any) -> list[tuple[str, str, str]]:
    return [(name, f"{key}={value}", "") for key, value in sorted(values.items())]


def _sessions(entry: Entry, moment: datetime) -> str:
    if entry.status is None:
        return ""
    since = age(entry.status.at, moment)
    return f"{entry.status.sessions}" + (f", {since} ago" if since else "")


def _with_age(time: str, moment: datetime) -> str:
    return f"{time}, {age(time, moment)} ago" if parse_time(time) else time


def _lease(details: Details) -> str:
    if not details.key.lease:
        return "none: this registration never lapses"
    lease = details.lease
    if lease.TTL <= 0:
        return f"{details.key.lease:x}, gone"
    return f"{details.key.lease:x}, {humanize(lease.TTL)} left of {plural(lease.grantedTTL, 'second')}"


def _raw(details: Details) -> str | None:
    """Return the value of a foreign key, escaped and cut; None for a record of ours."""
    return printable_bytes(details.key.value, _MOST_RAW_BYTES) if details.entry.node.foreign else None
