"""`clusterctl watch`: a line for each thing that happens to the fleet, as it happens."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import click

from clusterctl.events import Event, as_document, as_text, events, snapshot
from clusterctl.follow import following
from clusterctl.options import Command, current_screen, current_settings
from clusterctl.render import documents
from clusterctl.screen import Screen, now, say
from clusterctl.settings import Settings
from clusterd.etcd.client import Client


@click.command(cls=Command)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "jsonl"]),
    default="text",
    show_default=True,
    help="Form of the output.",
)
def watch(output: str) -> None:
    """Show what happens to the fleet, a line each, until interrupted.

    Begins with a snapshot. While etcd can't be reached the topology is stale, and the watch waits.
    """
    asyncio.run(_watch(current_settings(), current_screen(), output))


async def _watch(settings: Settings, screen: Screen, output: str) -> None:
    async with Client(settings.etcd) as client, following(client, settings.keyspace) as mirror:
        changes = mirror.changes()
        _write(screen, [snapshot(mirror.topology)], output)
        async for change in changes:
            _write(screen, events(change), output)
            if change.after.stale and not change.before.stale:
                say(f"stale: {mirror.trouble or 'etcd does not answer'}; waiting for etcd")


def _write(screen: Screen, happened: Iterable[Event], output: str) -> None:
    for event in happened:
        if output == "jsonl":
            screen.write(documents.as_json_line(as_document(event, now())))
        else:
            screen.write(as_text(event, now()))
