"""`clusterctl history`: who did what to which node, when, why, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import click
import msgspec

from clusterctl.completion import complete_node_ids
from clusterctl.durations import parse_duration
from clusterctl.options import Command, current_screen, current_settings
from clusterctl.render import documents, tables
from clusterctl.render.tables import Cell, Heading, Table
from clusterctl.render.text import local_time, parse_time
from clusterctl.screen import Screen, now, say
from clusterctl.settings import Settings
from clusterd.errors import NothingMatched, UsageError
from clusterd.etcd.client import Client
from clusterd.history import HistoryEntry, read_history

_TEXTS: dict[str, Callable[[list[HistoryEntry]], str]] = {
    "json": lambda entries: documents.as_json([as_document(entry) for entry in entries]),
    "jsonl": lambda entries: "\n".join(documents.as_json_line(as_document(entry)) for entry in entries),
    "yaml": lambda entries: documents.as_yaml([as_document(entry) for entry in entries]),
    "tsv": lambda entries: tables.tsv(as_table(entries)),
}


@dataclass(frozen=True, slots=True)
class Search:
    """The entries that fulfil all conditions given; without any, all."""

    ids: tuple[str, ...] = ()
    what: tuple[str, ...] = ()
    by: str | None = None
    since: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.ids or self.what or self.by is not None or self.since)

    def of(self, entries: Iterable[HistoryEntry], limit: int) -> list[HistoryEntry]:
        """Return the newest `limit` entries that are found (0: all), the oldest of them first."""
        found = [entry for entry in entries if self.matches(entry)]
        return found[-limit:] if limit else found

    def matches(self, entry: HistoryEntry) -> bool:
        """Whether an entry is found. One whose time can't be read is at no time."""
        at = parse_time(entry.at)
        return (
            (not self.ids or entry.node in self.ids)
            and (not self.what or entry.what in self.what)
            and (self.by is None or self.by in (entry.by, entry.by.partition("@")[0]))
            and (self.since is None or (at is not None and at >= self.since))
        )


@click.command(cls=Command)
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=complete_node_ids)
@click.option("--what", multiple=True, metavar="WHAT", help="Only these: drain, undrain, drained, forced, ...")
@click.option("--by", metavar="WHO", help="Only what this one did: user@host, or the user alone.")
@click.option("--since", metavar="DURATION", help="Only the last 90m, 24h, ...")
@click.option("-n", "--limit", type=click.IntRange(min=0), default=0, metavar="N", help="Only the newest N.")
@click.option("-o", "--output", type=click.Choice(["table", *_TEXTS]), default="table", show_default=True, help="Form.")
def history(
    ids: tuple[str, ...], what: tuple[str, ...], by: str | None, since: str | None, limit: int, output: str
) -> None:
    """Show who cordoned and drained what, when, why, and with which outcome: the last 14 days, the oldest first.

    Exit code 4 when something was looked for and not found.
    """
    begin = _ago(since) if since is not None else None
    asyncio.run(_show(current_settings(), current_screen(), Search(ids, what, by, begin), limit, output))


def _ago(since: str) -> datetime:
    try:
        return now() - timedelta(seconds=parse_duration(since, "--since"))
    except OverflowError as error:
        raise UsageError(f"--since {since!r} is before there were clocks: the history has 14 days") from error


async def _show(settings: Settings, screen: Screen, search: Search, limit: int, output: str) -> None:
    async with Client(settings.etcd) as client:
        entries = await read_history(client, settings.keyspace, limit=0 if search else limit)
    found = search.of(entries, limit)
    if search and not found:
        raise NothingMatched("nothing of that is in the history")
    if output == "table":
        screen.show(as_table(found))
    elif text := _TEXTS[output](found):
        screen.write(text)
    if not found:
        say("the history is empty")


def as_document(entry: HistoryEntry) -> dict[str, str]:
    """Return an entry as JSON and YAML show it."""
    document = msgspec.structs.asdict(entry)
    del document["v"]
    return document


def as_table(entries: Iterable[HistoryEntry]) -> Table:
    """Return entries as a table."""
    headings = [
        Heading("AT", whole=True),
        Heading("NODE", whole=True),
        Heading("WHAT", whole=True),
        Heading("BY"),
        Heading("REASON"),
        Heading("DETAILS"),
    ]
    rows = [
        [
            Cell(e.at, brief=local_time(e.at)),
            Cell(e.node, "bold"),
            Cell(e.what, _style(e.what)),
            Cell(e.by),
            Cell(e.reason),
            Cell(e.details),
        ]
        for e in entries
    ]
    return Table(headings, list(rows))


def _style(what: str) -> str:
    return {"drained": "green", "forced": "yellow", "kept": "yellow", "aborted": "red"}.get(what, "")
