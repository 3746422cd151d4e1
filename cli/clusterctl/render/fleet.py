"""Nodes as table rows and as documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clusterctl.durations import humanize
from clusterctl.fleet import Entry
from clusterctl.render.tables import Cell, Heading, Table
from clusterctl.render.text import parse_time
from clusterd.node import Node, NodeState

STATE_STYLES = {
    NodeState.STARTING: "cyan",
    NodeState.ACTIVE: "green",
    NodeState.CORDONED: "yellow",
    NodeState.DRAINING: "magenta",
    NodeState.DRAINED: "blue",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and what a node has under it at a moment."""

    heading: Heading
    cell: Callable[[Entry, datetime], Cell]


def table(entries: Iterable[Entry], moment: datetime, columns: Sequence[Column]) -> Table:
    """Return the table of these nodes; `moment` is what ages are counted to."""
    return Table(
        [column.heading for column in columns],
        [[column.cell(entry, moment) for column in columns] for entry in entries],
    )


def node_document(node: Node) -> dict[str, Any]:
    """Return a node as JSON and YAML show it: the fields of its record, and what etcd knows beside it."""
    return {
        "id": node.id,
        "instance": node.instance,
        "address": node.address,
        "state": node.state.value,
        "weight": node.weight,
        "zone": node.zone,
        "labels": dict(node.labels),
        "endpoints": dict(node.endpoints),
        "started_at": node.started_at,
        "agent": node.agent,
        "foreign": node.foreign,
        "unconfirmed": node.unconfirmed,
        "lease": lease_text(node.lease) or None,
        "mod_revision": node.mod_revision,
    }


def entry_document(entry: Entry) -> dict[str, Any]:
    """Return a node with how many sessions it holds, None where it doesn't say, and what it leads."""
    leads = None if entry.leads is None else list(entry.leads)
    return {**node_document(entry.node), "sessions": entry.sessions, "leads": leads}


def lease_text(lease: int) -> str:
    """Return a lease id as etcdctl writes and takes it: in hex; empty for none."""
    return f"{lease:x}" if lease else ""


def state_text(node: Node) -> str:
    """Return the state with what limits it: `active,unconfirmed`."""
    marks = [name for name, marked in (("foreign", node.foreign), ("unconfirmed", node.unconfirmed)) if marked]
    return ",".join([node.state.value, *marks])


def state_style(node: Node) -> str:
    """Return the rich style in which a state is shown."""
    if node.foreign:
        return "red"
    return f"{STATE_STYLES[node.state]} dim italic" if node.unconfirmed else STATE_STYLES[node.state]


def age(text: str, moment: datetime) -> str:
    """Return how long ago an RFC 3339 time was; empty where it isn't one."""
    time = parse_time(text)
    return humanize((moment - time).total_seconds()) if time else ""


def pairs(values: Mapping[str, str]) -> str:
    """Return labels or endpoints on one line: `a=1,b=2`."""
    return ",".join(f"{name}={value}" for name, value in sorted(values.items()))


def _of_node(title: str, text: Callable[[Node], str], *, style: str = "") -> Column:
    return Column(Heading(title), lambda entry, _: Cell(text(entry.node), style))


def _number(title: str, value: Callable[[Entry], int | None]) -> Column:
    def cell(entry: Entry, _: datetime) -> Cell:
        number = value(entry)
        return Cell("" if number is None else str(number))

    return Column(Heading(title, number=True), cell)


_ID = _of_node("NODE", lambda node: node.id, style="bold")
_STATE = Column(Heading("STATE"), lambda entry, _: Cell(state_text(entry.node), state_style(entry.node)))
_ZONE = _of_node("ZONE", lambda node: node.zone)
_ADDRESS = _of_node("ADDRESS", lambda node: node.address)
_WEIGHT = _number("WEIGHT", lambda entry: None if entry.node.foreign else entry.node.weight)
_SESSIONS = _number("SESSIONS", lambda entry: entry.sessions)
_AGE = Column(Heading("AGE", number=True), lambda entry, moment: Cell(age(entry.node.started_at, moment)))
_STARTED = _of_node("STARTED_AT", lambda node: node.started_at)
_LEADS = Column(Heading("LEADS"), lambda entry, _: Cell(",".join(entry.leads or ()), "bold"))
_EXTRA = (
    _of_node("LABELS", lambda node: pairs(node.labels)),
    _of_node("ENDPOINTS", lambda node: pairs(node.endpoints)),
    _of_node("AGENT", lambda node: node.agent),
    _of_node("INSTANCE", lambda node: node.instance),
    _of_node("LEASE", lambda node: lease_text(node.lease)),
    _number("REVISION", lambda entry: entry.node.mod_revision),
)

BRIEF = (_ID, _STATE, _ZONE, _ADDRESS, _WEIGHT, _SESSIONS, _AGE)
NARROW = (*BRIEF, _LEADS)
WIDE = (*NARROW, *_EXTRA)
EXACT = (_ID, _STATE, _ZONE, _ADDRESS, _WEIGHT, _SESSIONS, _STARTED, _LEADS, *_EXTRA)
"""The columns of `-o tsv`: as `WIDE`, with times that don't depend on when they are looked at."""
