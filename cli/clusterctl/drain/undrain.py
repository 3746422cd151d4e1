"""`clusterctl undrain`: taking drains back, at any moment."""

from __future__ import annotations

import asyncio

import click

from clusterctl.completion import complete_node_ids
from clusterctl.drain.operating import Ward, read_wards, tell_history
from clusterctl.drain.pruning import prune
from clusterctl.durations import parse_span
from clusterctl.options import Command, current_screen, current_settings
from clusterctl.screen import Screen, now, say
from clusterctl.settings import Settings
from clusterd.drain import Intent, make_cordon
from clusterd.drain.operator import list_intents, whoami, withdraw_intent
from clusterd.errors import Conflict, IntentConflict, UsageError
from clusterd.etcd.client import Client


@click.command(cls=Command)
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=complete_node_ids)
@click.option("--all", "everything", is_flag=True, help="All drains that are under way.")
@click.option("--keep-cordoned", is_flag=True, help="The nodes stay out of the slots: cordoned.")
@click.option("--gone", is_flag=True, help="What is asked of nodes that aren't registered, drains and cordons.")
@click.option("--older-than", metavar="DURATION", help="With --gone: asked longer ago than this.  [default: 1d]")
@click.option("-y", "--yes", is_flag=True, help="With --gone: don't ask.")
def undrain(
    ids: tuple[str, ...], everything: bool, keep_cordoned: bool, gone: bool, older_than: str | None, yes: bool
) -> None:
    """Take drains back: no more sessions are moved, and the nodes own slots again.

    Also drops what is asked of a node that is gone; with --gone of all such, after showing what that is. Exit code 4
    when an ID is no node, 5 when one is cordoned, not confirmed, or somebody else was faster.
    """
    if gone:
        if ids or everything or keep_cordoned:
            raise UsageError("--gone goes with none of IDs, --all and --keep-cordoned")
        return prune(current_settings(), current_screen(), parse_span(older_than or "1d", "--older-than"), yes=yes)
    if older_than is not None or yes:
        raise UsageError("--older-than and -y are for --gone")
    if everything == bool(ids):
        raise UsageError("--all and IDs don't go together" if ids else "undrain what? Give IDs, --all or --gone")
    return asyncio.run(_undrain(current_settings(), current_screen(), ids, keep_cordoned=keep_cordoned))


async def _undrain(settings: Settings, screen: Screen, ids: tuple[str, ...], *, keep_cordoned: bool) -> None:
    conflicts = []
    async with Client(settings.etcd) as client:
        for ward in await _wards(client, settings, ids):
            try:
                screen.write(await _take_back(client, settings, ward, keep_cordoned=keep_cordoned))
            except IntentConflict as error:
                conflicts.append(str(error))
    if conflicts:
        raise Conflict("; ".join(conflicts))


async def _wards(client: Client, settings: Settings, ids: tuple[str, ...]) -> list[Ward]:
    """Return the nodes whose drain is to be taken back; no ids: all that have one."""
    if not ids:
        views = await list_intents(client, settings.keyspace)
        wards = [Ward(view.node, None, view) for view in views if view.intent and view.intent.drains]
        if not wards:
            say("no node is being drained")
        return wards
    wards = await read_wards(client, settings.keyspace, ids)
    if cordoned := [ward.id for ward in wards if ward.view.intent and not ward.view.intent.drains]:
        raise Conflict(f"node {', '.join(cordoned)} is cordoned, not drained: uncordon is for that")
    for ward in wards:
        if ward.view.revision == 0:
            say(f"{ward.id} is not being drained")
    return [ward for ward in wards if ward.view.revision]


async def _take_back(client: Client, settings: Settings, ward: Ward, *, keep_cordoned: bool) -> str:
    view, keyspace = ward.view, settings.keyspace
    await withdraw_intent(client, keyspace, view, cordon=_cordon(view.intent) if keep_cordoned else None)
    await tell_history(client, keyspace, "undrain", [view], details="stays cordoned" if keep_cordoned else "")
    return f"{ward.id} undrained" + (", stays cordoned" if keep_cordoned else "")


def _cordon(intent: Intent | None) -> Intent:
    return make_cordon(by=whoami(), reason=intent.reason if intent else "", now=now())
