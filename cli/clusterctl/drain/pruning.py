"""`clusterctl undrain --gone`: dropping what is asked of nodes that are gone."""

from __future__ import annotations

import asyncio

from clusterctl.drain.operating import confirm, tell_history
from clusterctl.render.tables import Cell, Heading, Table
from clusterctl.render.text import plural
from clusterctl.screen import Screen, now, say
from clusterctl.settings import Settings
from clusterd.drain.operator import IntentView, find_orphans, prune_intent
from clusterd.errors import Conflict, IntentConflict
from clusterd.etcd.client import Client


def prune(settings: Settings, screen: Screen, older_than: float, *, yes: bool) -> None:
    """Show what is asked of nodes that are gone, ask, and drop it. Raises `Conflict`, `EtcdError`."""
    orphans = asyncio.run(_find(settings, older_than))
    if not orphans:
        say("nothing is asked, for that long, of a node that is gone")
        return
    screen.show(_table(orphans))
    names = ", ".join(view.node for view in orphans[:10])
    confirm(f"what is asked of {plural(len(orphans), 'node')} would be dropped", f"Drop it for {names}?", yes=yes)
    asyncio.run(_drop(settings, screen, orphans))


async def _find(settings: Settings, older_than: float) -> list[IntentView]:
    async with Client(settings.etcd) as client:
        return await find_orphans(client, settings.keyspace, older_than=older_than, now=now())


async def _drop(settings: Settings, screen: Screen, orphans: list[IntentView]) -> None:
    conflicts = []
    async with Client(settings.etcd) as client:
        for view in orphans:
            try:
                await prune_intent(client, settings.keyspace, view)
            except IntentConflict as error:
                conflicts.append(str(error))
                continue
            await tell_history(client, settings.keyspace, "prune", [view], details="the node was gone")
            screen.write(f"{view.node} pruned")
    if conflicts:
        raise Conflict("; ".join(conflicts))


def _table(orphans: list[IntentView]) -> Table:
    titles = ("NODE", "WANTED", "BY", "SINCE", "REASON")
    return Table([Heading(title) for title in titles], [_row(view) for view in orphans])


def _row(view: IntentView) -> list[Cell]:
    intent = view.intent
    if intent is None:
        return [Cell(view.node, "bold"), Cell("unreadable"), Cell(""), Cell(""), Cell("")]
    return [Cell(view.node, "bold"), Cell(intent.kind.value), Cell(intent.by), Cell(intent.at), Cell(intent.reason)]
