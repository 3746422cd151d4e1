"""`clusterctl drain set`: other terms for drains that are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from typing import Any

import click

from clusterctl.completion import complete_node_ids
from clusterctl.drain.operating import confirm, tell_history
from clusterctl.drain.plan import check_active
from clusterctl.drain.terms import parse_changes
from clusterctl.drain.waiting import interruptible
from clusterctl.fleet import read_topology
from clusterctl.options import Command, current_screen, current_settings
from clusterctl.render.text import plural, printable
from clusterctl.screen import now
from clusterctl.settings import Settings
from clusterd.drain import Intent, OnDeadline
from clusterd.drain.operator import IntentView, list_intents, place_intents
from clusterd.errors import Conflict, NothingMatched, UsageError
from clusterd.etcd.client import Client
from clusterd.keys import check_node_id
from clusterd.node import NodeState
from clusterd.topology import Topology


@click.command("set", cls=Command)
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=complete_node_ids)
@click.option("--all", "everything", is_flag=True, help="All drains that are under way.")
@click.option("--rate", metavar="N/s", help="Sessions moved a second, on each node; or none.")
@click.option("--over", metavar="DURATION", help="Spread what is left over this time, from now.")
@click.option("--settle", metavar="DURATION", help="For how long there must be no session at the end.")
@click.option("--deadline", metavar="WHEN", help="10m from now, a moment (RFC 3339), or none.")
@click.option(
    "--on-deadline",
    type=click.Choice([each.value for each in OnDeadline]),
    help="What becomes of the sessions that are left then.",
)
@click.option("--max-unavailable", metavar="N|N%", help="At most so many nodes drain at once; or none.")
@click.option("--min-active", metavar="N|N%", help="At least so many nodes must stay active; or none.")
@click.option("-m", "--reason", metavar="WHY", help="Why; others see it.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
def change(ids: tuple[str, ...], everything: bool, yes: bool, **flags: str | None) -> None:
    """Change the terms of drains that are under way: they stay the same drains, with their start and their author.

    All are changed or none. More than one has to be confirmed, by -y where nobody can be asked. Exit code 4 when an ID
    is not being drained, 5 when not confirmed, or somebody else was faster.
    """
    if everything == bool(ids):
        raise UsageError("--all and IDs don't go together" if ids else "change which drain? Give IDs, or --all")
    terms = parse_changes(flags, now())
    wanted = [check_node_id(node_id) for node_id in dict.fromkeys(ids)]
    settings = current_settings()
    before, fleet = asyncio.run(_find(settings, wanted))
    after = {node: _changed(node, view, terms) for node, view in before.items()}
    if terms.get("min_active") is not None:
        _check_active(fleet, after, terms["min_active"])
    if len(after) > 1:
        confirm(f"{plural(len(after), 'drain')} would be changed", f"Change {', '.join(list(after)[:10])}?", yes=yes)
    for line in _place(settings, before, after):
        current_screen().write(printable(line))


async def _find(settings: Settings, wanted: list[str]) -> tuple[dict[str, IntentView], Topology]:
    """Return the drains of these nodes, or all, and the fleet. Raises `NothingMatched`, `EtcdError`."""
    async with Client(settings.etcd) as client:
        views = await list_intents(client, settings.keyspace)
        fleet = await read_topology(client, settings.keyspace)
    drains = {view.node: view for view in views if view.intent and view.intent.drains}
    if missing := [node for node in wanted if node not in drains]:
        raise NothingMatched(f"{', '.join(missing)} is not being drained; nothing was changed")
    if not drains:
        raise NothingMatched("no node is being drained")
    return ({node: drains[node] for node in wanted} if wanted else drains), fleet


def _check_active(fleet: Topology, drained: Container[str], min_active: str) -> None:
    """Raise `Conflict` if the nodes that aren't drained can't be as many active ones as the limit wants."""
    ours = [node for node in fleet if not node.foreign]
    remain = sum(node.state is NodeState.ACTIVE and node.id not in drained for node in ours)
    check_active(remain, len(ours), min_active)


def _changed(node: str, view: IntentView, terms: dict[str, Any]) -> Intent:
    """Return the intent at other terms. Raises `UsageError`, `Conflict`."""
    if view.intent is None:
        raise Conflict(f"node {node} is not being drained")
    intent = view.intent.changed(**terms)
    if "on_deadline" in terms and intent.deadline is None:
        raise UsageError(
            f"--on-deadline never comes to anything for {node}, which has no deadline: give --deadline too"
        )
    return intent


def _place(settings: Settings, before: dict[str, IntentView], after: dict[str, Intent]) -> list[str]:
    """Put the changed intents in the place of those that were seen; return what to say.

    Raises `IntentConflict`, `EtcdError`, `KeyboardInterrupt`.
    """
    told: dict[str, str] = {}

    async def place() -> None:
        async with Client(settings.etcd) as client:
            views = await place_intents(client, settings.keyspace, after, before)
            told.update({view.node: differences(before[view.node].intent, view.intent) for view in views})
            for view in views:
                details = told[view.node]
                await tell_history(client, settings.keyspace, "change", [view], reason=_reason(view), details=details)

    with interruptible(lambda: f"interrupted; {'all is changed' if told else 'what was changed is changed back'}"):
        asyncio.run(place())
    return [f"{node} changed: {details}" for node, details in told.items()]


def differences(before: Intent | None, after: Intent | None) -> str:
    """Return in words what became of the terms."""
    if before is None or after is None:
        return ""
    names = ("rate", "over", "settle", "deadline", "on_deadline", "max_unavailable", "min_active", "reason")
    pairs = [(name, getattr(before, name), getattr(after, name)) for name in names]
    return ", ".join(f"{name} {_word(old)} → {_word(new)}" for name, old, new in pairs if old != new) or "nothing"


def _word(value: object) -> str:
    if value in (None, ""):
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _reason(view: IntentView) -> str:
    return view.intent.reason if view.intent else ""
