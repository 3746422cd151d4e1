"""What happens to the fleet, as single events: what `clusterctl watch` shows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from clusterctl.render.fleet import node_document, pairs, state_text
from clusterctl.render.text import plural, printable, timestamp
from clusterd.node import Node
from clusterd.topology import Change, Topology, Update

# They change with every write, or have an event of their own.
_PASSED_OVER = frozenset({"mod_revision", "unconfirmed"})


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened at an etcd revision.

    `kind` is `snapshot`, `joined`, `left`, `updated`, `unconfirmed`, `confirmed`, `stale` or `fresh`. `node` is the one
    that it happened to, `fields` what changed of it: from what, to what. `nodes` are a snapshot's.
    """

    kind: str
    revision: int
    node: Node | None = None
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()


def snapshot(topology: Topology) -> Event:
    """Return the event with which a watch begins: all nodes as they are."""
    return Event("snapshot", topology.revision, nodes=tuple(topology))


def events(change: Change) -> Iterator[Event]:
    """Yield what happened in a change, in the order: joined, updated, left, stale or fresh."""
    revision = change.revision
    yield from (Event("joined", revision, node) for node in change.joined)
    yield from (_updated(update, revision) for update in change.updated)
    yield from (Event("left", revision, node) for node in change.left)
    if change.before.stale != change.after.stale:
        yield Event("stale" if change.after.stale else "fresh", revision)


def as_text(event: Event, time: datetime) -> str:
    """Return an event as a line."""
    subject = event.node.id if event.node else ""
    parts = (timestamp(time), f"{event.revision:>6}", f"{event.kind:<11}", subject, _details(event))
    return printable("  ".join(part for part in parts if part)).rstrip()


def as_document(event: Event, time: datetime) -> dict[str, Any]:
    """Return an event as JSON shows it."""
    document: dict[str, Any] = {"time": timestamp(time), "revision": event.revision, "event": event.kind}
    if event.kind == "snapshot":
        document["nodes"] = [node_document(node) for node in event.nodes]
    if event.node is not None:
        document |= {"node": event.node.id, "record": node_document(event.node)}
    if event.fields:
        document["changes"] = {name: {"before": was, "after": now} for name, (was, now) in event.fields.items()}
    return document


def _updated(update: Update, revision: int) -> Event:
    before, after = node_document(update.before), node_document(update.after)
    fields = {
        name: (before[name], after[name]) for name in after if before[name] != after[name] and name not in _PASSED_OVER
    }
    kind = "updated"
    if update.before.unconfirmed != update.after.unconfirmed:
        kind = "unconfirmed" if update.after.unconfirmed else "confirmed"
    return Event(kind, revision, update.after, fields)


def _details(event: Event) -> str:
    if event.kind == "snapshot":
        return ", ".join([plural(len(event.nodes), "node"), *(node.id for node in event.nodes)])
    if event.kind == "joined" and event.node is not None:
        return _described(event.node)
    if event.kind == "updated" and not event.fields:
        return "written again, unchanged"
    return ", ".join(f"{name} {_value(was)} → {_value(now)}" for name, (was, now) in event.fields.items())


def _described(node: Node) -> str:
    parts = (state_text(node), node.address, f"zone {node.zone}" if node.zone else "", pairs(node.labels))
    return ", ".join(part for part in parts if part)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + pairs(value) + "}"
    return "none" if value in ("", None) else str(value)
