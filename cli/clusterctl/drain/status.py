"""`clusterctl drain status`: what is asked of which node, and how that goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import click

from clusterctl.completion import complete_node_ids
from clusterctl.drain.looks import look_at
from clusterctl.drain.rendering import status_document, status_table
from clusterctl.drain.tracking import Tracker
from clusterctl.drain.waiting import Reporter, wait
from clusterctl.durations import parse_duration
from clusterctl.options import Command, current_screen, current_settings
from clusterctl.render import documents, tables
from clusterctl.screen import Screen, say
from clusterctl.settings import Settings
from clusterd.drain.operator import list_intents
from clusterd.errors import NothingMatched, UsageError
from clusterd.etcd.client import Client
from clusterd.keys import NODE_ID, check_node_id

TIMEOUT_HELP = "Wait no longer than this; the drain goes on. (The one for a call to etcd goes before `drain`.)"
_TEXTS: dict[str, Callable[[list[Tracker]], str]] = {
    "json": lambda found: documents.as_json([status_document(each) for each in found]),
    "jsonl": lambda found: "\n".join(documents.as_json_line(status_document(each)) for each in found),
    "yaml": lambda found: documents.as_yaml([status_document(each) for each in found]),
    "tsv": lambda found: tables.tsv(status_table(found)),
    "name": lambda found: "\n".join(each.node for each in found),
}


@click.command("status", cls=Command)
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=complete_node_ids)
@click.option("-w", "--watch", "watching", is_flag=True, help="Stay until the drains have ended, as drain does.")
@click.option("-o", "--output", type=click.Choice(["table", *_TEXTS]), default="table", show_default=True, help="Form.")
@click.option("--timeout", metavar="DURATION", help=f"With -w: {TIMEOUT_HELP[0].lower()}{TIMEOUT_HELP[1:]}")
def status(ids: tuple[str, ...], watching: bool, output: str, timeout: str | None) -> int:
    """Show which nodes are drained or cordoned by an operator, by whom, and how that goes; also those long gone.

    With -w the exit codes are those of drain. Exit code 4 when nothing is asked of an ID.
    """
    if watching and output not in ("table", "jsonl"):
        raise UsageError(f"--watch shows table, jsonl, not {output}")
    if timeout is not None and not watching:
        raise UsageError("--timeout after `drain status` is for --watch; that of a call to etcd goes before `drain`")
    patience = None if timeout is None else parse_duration(timeout, "--timeout")
    settings, screen = current_settings(), current_screen()
    wanted = [check_node_id(node_id) for node_id in dict.fromkeys(ids)]
    found = asyncio.run(_find(settings, wanted))
    if not watching:
        _show(screen, found, output)
        return 0
    drains = _drains(found, wanted)
    return wait(settings, Reporter(screen, drains, jsonl=output == "jsonl"), drains, patience) if drains else 0


async def _find(settings: Settings, wanted: list[str]) -> list[Tracker]:
    """Return the intents of these nodes, or of all, with how they go. Raises `NothingMatched`, `EtcdError`."""
    async with Client(settings.etcd) as client:
        views = {view.node: view for view in await list_intents(client, settings.keyspace)}
        if unreadable := [node for node, view in views.items() if view.unreadable and (not wanted or node in wanted)]:
            say(f"the intent of {', '.join(unreadable)} can't be read: its node passes it over; undrain drops it")
        if missing := [node for node in wanted if node not in views]:
            raise NothingMatched(
                f"nothing is asked of {', '.join(missing)}: it is neither drained nor cordoned; "
                f"what was before tells: clusterctl history {missing[0]}"
            )
        intents = {node: view.intent for node, view in views.items() if view.intent and NODE_ID.fullmatch(node)}
        nodes = [node for node in intents if not wanted or node in wanted]
        looks = await look_at(client, settings.keyspace, nodes)
    found = [Tracker(node, intents[node]) for node in nodes]
    for tracker, look in zip(found, looks, strict=True):
        if tracker.intent.drains:
            tracker.note(look, time.monotonic())
        tracker.absent = look.node is None
    return found


def _show(screen: Screen, found: list[Tracker], output: str) -> None:
    if output == "table":
        screen.show(status_table(found))
    elif text := _TEXTS[output](found):
        screen.write(text)
    if not found:
        say("no node is drained or cordoned by an operator")


def _drains(found: list[Tracker], wanted: list[str]) -> list[Tracker]:
    """Return the drains to wait for, anew. Raises `NothingMatched` where one that is waited for is none."""
    drains = [Tracker(each.node, each.intent) for each in found if each.intent.drains]
    if wanted and (cordons := [each.node for each in found if not each.intent.drains]):
        raise NothingMatched(f"{', '.join(cordons)} is cordoned, not drained")
    if not drains:
        say("no node is being drained")
    return drains
