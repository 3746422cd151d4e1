"""`clusterctl slots`: how the slots are spread over the nodes, and what would move if some of them left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import click

from clusterctl.balance import Balance
from clusterctl.completion import complete_node_ids
from clusterctl.fleet import read_topology
from clusterctl.options import Command, current_screen, current_settings
from clusterctl.render import documents, tables
from clusterctl.render.slots import balance_document, exact_table, node_documents, summary, table
from clusterctl.screen import Screen, say
from clusterctl.settings import Settings
from clusterd.errors import NothingMatched
from clusterd.etcd.client import Client

_TEXTS: dict[str, Callable[[Balance], str]] = {
    "json": lambda balance: documents.as_json(balance_document(balance)),
    "jsonl": lambda balance: "\n".join(map(documents.as_json_line, node_documents(balance))),
    "yaml": lambda balance: documents.as_yaml(balance_document(balance)),
    "tsv": lambda balance: tables.tsv(exact_table(balance)),
}
_SUMMED_UP = ("json", "yaml")  # the forms that hold what the others say on stderr


@click.command(cls=Command)
@click.option(
    "--without",
    "ids",
    metavar="ID",
    multiple=True,
    shell_complete=complete_node_ids,
    help="Show what would move if this node left; several together when given again.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", *_TEXTS]),
    default="table",
    show_default=True,
    help="Form of the output.",
)
def slots(ids: tuple[str, ...], output: str) -> None:
    """Show how many slots each node owns, and how many its weight entitles it to.

    Exit code 4 when there is no node of an ID.
    """
    asyncio.run(_slots(current_settings(), current_screen(), ids, output))


async def _slots(settings: Settings, screen: Screen, ids: tuple[str, ...], output: str) -> None:
    async with Client(settings.etcd) as client:
        topology = await read_topology(client, settings.keyspace)
    if missing := [node_id for node_id in dict.fromkeys(ids) if node_id not in topology]:
        raise NothingMatched(f"no node {', '.join(missing)}")
    show(screen, Balance.of(topology, ids), output)
    if not len(topology):
        say(f"no nodes are registered under {settings.keyspace.nodes.decode()}")


def show(screen: Screen, balance: Balance, output: str) -> None:
    """Show the balance in this form, summed up on stderr where the form itself doesn't."""
    if output == "table":
        screen.show(table(balance))
    elif text := _TEXTS[output](balance):
        screen.write(text)
    if output not in _SUMMED_UP:
        for line in summary(balance):
            say(line)
