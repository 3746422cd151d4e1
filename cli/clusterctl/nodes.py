"""`clusterctl nodes`: the fleet, as a table that can be watched, or as data."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
from rich.live import Live

from clusterctl.completion import complete_node_ids
from clusterctl.fleet import Entry, FleetPoll, read_fleet
from clusterctl.follow import following
from clusterctl.options import Command, current_screen, current_settings
from clusterctl.render import documents, fleet, tables
from clusterctl.render.fleet import entry_document
from clusterctl.render.text import parse_time, plural, printable, timestamp
from clusterctl.screen import Screen, now, say
from clusterctl.selectors import Selection, parse_labels
from clusterctl.settings import Settings
from clusterd.aio import run_together
from clusterd.errors import NothingMatched, UsageError
from clusterd.etcd.client import Client
from clusterd.feed import Changes
from clusterd.mirror import Mirror
from clusterd.node import NodeState

_REFRESH_SECONDS = 1.0
_WATCHABLE = ("table", "wide", "jsonl")


def _by_state(entry: Entry) -> int:
    return list(NodeState).index(entry.node.state)


def _by_age(entry: Entry) -> float:
    started = parse_time(entry.node.started_at)
    return started.timestamp() if started else float("inf")


_SORT_KEYS: dict[str, Callable[[Entry], Any]] = {
    "id": lambda entry: entry.node.id,
    "zone": lambda entry: entry.node.zone,
    "state": _by_state,
    "weight": lambda entry: -entry.node.weight,
    "age": _by_age,
    "sessions": lambda entry: -1 if entry.sessions is None else -entry.sessions - 2,
}

_TEXTS: dict[str, Callable[[list[Entry]], str]] = {
    "json": lambda entries: documents.as_json([entry_document(entry) for entry in entries]),
    "jsonl": lambda entries: "\n".join(documents.as_json_line(entry_document(entry)) for entry in entries),
    "yaml": lambda entries: documents.as_yaml([entry_document(entry) for entry in entries]),
    "tsv": lambda entries: tables.tsv(fleet.table(entries, now(), fleet.EXACT)),
    "name": lambda entries: "\n".join(printable(entry.node.id) for entry in entries),
}


@dataclass(frozen=True, slots=True)
class View:
    """Which nodes are shown, in which order and form."""

    selection: Selection
    sort: str
    output: str

    def of(self, entries: tuple[Entry, ...]) -> list[Entry]:
        """Return the entries to show, in order; equal ones by id."""
        return sorted(self.selection.of(entries), key=_SORT_KEYS[self.sort])

    def table(self, entries: list[Entry]) -> tables.Table:
        """Return the entries as a table."""
        return fleet.table(entries, now(), fleet.WIDE if self.output == "wide" else fleet.NARROW)

    def show(self, screen: Screen, entries: list[Entry]) -> None:
        """Show the entries once."""
        if self.output not in _TEXTS:
            screen.show(self.table(entries), fit=self.output != "wide")
        elif text := _TEXTS[self.output](entries):
            screen.write(text)


@click.command(cls=Command)
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=complete_node_ids)
@click.option("-l", "--label", "labels", metavar="SELECTOR", multiple=True, help="k=v, k!=v or k; all must hold.")
@click.option("--zone", metavar="ZONE", help="Only nodes of this zone.")
@click.option("--state", type=click.Choice([state.value for state in NodeState]), help="Only nodes in this state.")
@click.option(
    "--sort", type=click.Choice(list(_SORT_KEYS)), default="id", show_default=True, help="Order of the nodes."
)
@click.option("-w", "--watch", "watching", is_flag=True, help="Stay, and show the nodes as they change.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", *_TEXTS]),
    default="table",
    show_default=True,
    help="Form of the output.",
)
def nodes(
    ids: tuple[str, ...],
    labels: tuple[str, ...],
    zone: str | None,
    state: str | None,
    sort: str,
    watching: bool,
    output: str,
) -> None:
    """List the nodes of the fleet, all or those selected.

    Exit code 4 when an ID or the selection matches no node.
    """
    view = View(Selection(ids, parse_labels(labels), zone, state), sort, output)
    if watching and output not in _WATCHABLE:
        raise UsageError(f"--watch shows {', '.join(_WATCHABLE)}, not {output}")
    act = _watch if watching else _list
    asyncio.run(act(current_settings(), current_screen(), view))


async def _list(settings: Settings, screen: Screen, view: View) -> None:
    async with Client(settings.etcd) as client:
        found = await read_fleet(client, settings.keyspace, with_leads=view.output != "name")
    entries = view.of(found.entries)
    if not entries and view.selection:
        raise NothingMatched(_nothing(view.selection, len(found.entries)))
    view.show(screen, entries)
    if not found.entries:
        say(f"no nodes are registered under {settings.keyspace.nodes.decode()}")
    if missing := view.selection.missing(found.entries):
        raise NothingMatched(f"no node {', '.join(missing)}")


def _nothing(selection: Selection, total: int) -> str:
    if selection.ids and not (selection.labels or selection.zone or selection.state):
        return f"no node {', '.join(selection.ids)}"
    return f"none of {plural(total, 'node')} is selected"


async def _watch(settings: Settings, screen: Screen, view: View) -> None:
    async with Client(settings.etcd) as client, following(client, settings.keyspace) as mirror:
        poll = FleetPoll(client, settings.keyspace)
        await poll.ask()
        show = _show_live if screen.person and view.output != "jsonl" else _show_again
        await run_together(**{"clusterctl poll": poll.run(), "clusterctl table": show(screen, view, mirror, poll)})


async def _show_live(screen: Screen, view: View, mirror: Mirror, poll: FleetPoll) -> None:
    """Keep one table on the terminal in step, until interrupted."""
    changes = mirror.changes()
    with Live(console=screen.console, auto_refresh=False) as live:
        while True:
            shown = view.of(poll.join(mirror.topology))
            live.update(tables.for_terminal(view.table(shown), _caption(mirror)), refresh=True)
            await _change_or_timeout(changes)


async def _show_again(screen: Screen, view: View, mirror: Mirror, poll: FleetPoll) -> None:
    """Write the nodes after each change, until interrupted."""
    changes = mirror.changes()
    while True:
        topology = mirror.topology
        shown = view.of(poll.join(topology))
        if view.output == "jsonl":
            screen.write(documents.as_json_line(_snapshot(topology.revision, topology.stale, shown)))
        else:
            screen.write(tables.aligned(view.table(shown)) + "\n")
        await anext(changes)


async def _change_or_timeout(changes: Changes) -> None:
    try:
        async with asyncio.timeout(_REFRESH_SECONDS):
            await anext(changes)
    except TimeoutError:
        return


def _snapshot(revision: int, stale: bool, entries: list[Entry]) -> dict[str, Any]:
    return {
        "time": timestamp(now()),
        "revision": revision,
        "stale": stale,
        "nodes": [entry_document(entry) for entry in entries],
    }


def _caption(mirror: Mirror) -> str:
    topology = mirror.topology
    parts = [
        plural(len(topology), "node"),
        f"{len(topology.active)} active",
        f"revision {topology.revision}",
        f"{now().astimezone():%H:%M:%S}",
    ]
    if topology.stale:
        parts.append(f"stale: {mirror.trouble or 'etcd does not answer'}")
    return printable(" · ".join(parts))
