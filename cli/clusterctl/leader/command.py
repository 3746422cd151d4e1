"""The command `leader`: all elections, or one with its candidates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import click

from clusterctl.completion import complete_election_names
from clusterctl.fleet import read_node_ids
from clusterctl.leader.following import FOLLOWED, follow
from clusterctl.leader.resigning import RESIGNED, find, resign
from clusterctl.options import Command, current_screen, current_settings
from clusterctl.render import documents, elections, tables
from clusterctl.render.elections import Ids
from clusterctl.render.text import printable
from clusterctl.screen import Screen, say
from clusterctl.settings import Settings
from clusterd.election import ElectionView, list_elections
from clusterd.errors import UsageError
from clusterd.etcd.client import Client
from clusterd.keys import check_office_name

_DOCUMENTS: dict[str, Callable[[Any], str]] = {
    "json": documents.as_json,
    "jsonl": documents.as_json_line,
    "yaml": documents.as_yaml,
}


@click.command(cls=Command)
@click.argument("name", required=False, shell_complete=complete_election_names)
@click.option("-w", "--watch", "watching", is_flag=True, help="Stay, and write a line for each change of the leader.")
@click.option("--resign", "resigning", is_flag=True, help="Make the leader give the office up; asks before.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask: with --resign.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", *_DOCUMENTS, "tsv", "name"]),
    default="table",
    show_default=True,
    help="Form of the output.",
)
def leader(name: str | None, watching: bool, resigning: bool, yes: bool, output: str) -> None:
    """Show who leads: all elections, or the candidates of one in the order of their turns.

    Exit code 4 when nobody stands in the election NAME, 5 when --resign isn't confirmed, or comes too late.
    """
    _check_usage(name, output, watching=watching, resigning=resigning, yes=yes)
    settings, screen = current_settings(), current_screen()
    if name is None:
        asyncio.run(_show_all(settings, screen, output))
    elif watching:
        asyncio.run(follow(settings, screen, name, output))
    elif resigning:
        resign(settings, screen, name, output, confirmed=yes)
    else:
        asyncio.run(_show_one(settings, screen, name, output))


def _check_usage(name: str | None, output: str, *, watching: bool, resigning: bool, yes: bool) -> None:
    """Raise `UsageError` for what doesn't go together."""
    if name is not None:
        check_office_name(name)
    elif watching or resigning:
        raise UsageError(f"{'--watch' if watching else '--resign'} needs the NAME of an election")
    if watching and resigning:
        raise UsageError("--watch and --resign don't go together")
    if yes and not resigning:
        raise UsageError("--yes goes with --resign")
    if watching and output not in FOLLOWED:
        raise UsageError(f"--watch shows {', '.join(FOLLOWED)}, not {output}")
    if resigning and output not in RESIGNED:
        raise UsageError(f"--resign shows {', '.join(RESIGNED)}, not {output}")


async def _show_all(settings: Settings, screen: Screen, output: str) -> None:
    async with Client(settings.etcd) as client:
        found = await list_elections(client, settings.keyspace)
        nodes = None if output == "name" else await read_node_ids(client, settings.keyspace)
    if output == "table":
        screen.show(elections.overview(found, nodes))
    elif text := _listed(found, nodes, output):
        screen.write(text)
    if not found:
        say(f"nobody stands in an election under {settings.keyspace.elections.decode()}")


def _listed(found: list[ElectionView], nodes: Ids, output: str) -> str:
    """Return all elections as text."""
    if output == "name":
        return "\n".join(printable(election.name) for election in found)
    if output == "tsv":
        return tables.tsv(elections.overview(found, nodes))
    each = [elections.election_document(election, nodes) for election in found]
    return "\n".join(map(documents.as_json_line, each)) if output == "jsonl" else _DOCUMENTS[output](each)


async def _show_one(settings: Settings, screen: Screen, name: str, output: str) -> None:
    async with Client(settings.etcd) as client:
        election = await find(client, settings.keyspace, name)
        nodes = None if output == "name" else await read_node_ids(client, settings.keyspace)
    if output == "table":
        screen.show(elections.turns(election, nodes))
    elif output == "tsv":
        screen.write(tables.tsv(elections.turns(election, nodes)))
    elif output == "name":
        screen.write(printable(election.leader.id))
    else:
        screen.write(_DOCUMENTS[output](elections.turns_document(election, nodes)))
