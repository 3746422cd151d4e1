"""`clusterctl route`: which node owns a key, and which ones stand in for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

from clusterctl.fleet import read_topology
from clusterctl.options import Command, current_screen, current_settings
from clusterctl.render import documents, routes, tables
from clusterctl.render.routes import Routed, route_document
from clusterctl.render.text import plural, printable
from clusterctl.screen import Screen, say
from clusterctl.settings import Settings
from clusterd.errors import NothingMatched
from clusterd.etcd.client import Client
from clusterd.topology import Topology

_DEFAULT_COUNT = 3

_TEXTS: dict[str, Callable[[Sequence[Routed]], str]] = {
    "json": lambda routed: documents.as_json([route_document(each) for each in routed]),
    "jsonl": lambda routed: "\n".join(documents.as_json_line(route_document(each)) for each in routed),
    "yaml": lambda routed: documents.as_yaml([route_document(each) for each in routed]),
    "tsv": lambda routed: tables.tsv(routes.table(routed)),
    "name": lambda routed: "\n".join(printable(each.owner.id) for each in routed),
}


@dataclass(frozen=True, slots=True)
class Question:
    """The keys asked about, how many nodes a route may have, and the zone that fallbacks should be in."""

    keys: tuple[str, ...]
    count: int = _DEFAULT_COUNT
    zone: str | None = None

    def answer(self, topology: Topology) -> list[Routed]:
        """Return the routes of the keys, in their order; raise `NothingMatched` where no node may own any."""
        if not topology.routable:
            raise NothingMatched(_nobody(topology))
        return [Routed.of(key, topology.route(os.fsencode(key), self.count, self.zone)) for key in self.keys]


@click.command(cls=Command)
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option(
    "-n",
    "count",
    type=click.IntRange(min=1),
    default=_DEFAULT_COUNT,
    show_default=True,
    help="Nodes in a route: the owner, and fallbacks.",
)
@click.option("--zone", metavar="ZONE", help="Fallbacks in this zone first; the owner stays the same.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", *_TEXTS]),
    default="table",
    show_default=True,
    help="Form of the output; name: the ids of the owners alone.",
)
def route(keys: tuple[str, ...], count: int, zone: str | None, output: str) -> None:
    """Show which node owns each KEY, and which nodes to fall back on.

    Exit code 4 when no node may own keys. A KEY that starts with - goes after --.
    """
    asyncio.run(_route(current_settings(), current_screen(), Question(keys, count, zone), output))


async def _route(settings: Settings, screen: Screen, question: Question, output: str) -> None:
    async with Client(settings.etcd) as client:
        topology = await read_topology(client, settings.keyspace)
    answer = question.answer(topology)
    if output == "table":
        screen.show(routes.table(answer))
    else:
        screen.write(_TEXTS[output](answer))
    if question.zone is not None and question.zone not in {node.zone for node in topology.routable}:
        say(f"no node that may own keys is in zone {question.zone}")


def _nobody(topology: Topology) -> str:
    if not len(topology):
        return "nobody owns any key: no nodes are registered"
    return f"nobody owns any key: none of {plural(len(topology), 'node')} is active, with an address and a weight"
