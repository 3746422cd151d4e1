"""What all that operators do has in common: reading what is there first, and telling the history afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import click

from clusterctl.drain.plan import not_there
from clusterctl.fleet import read_topology
from clusterctl.render.text import printable
from clusterctl.screen import now, person_to_ask, say
from clusterd.drain.intent import Intent, format_time
from clusterd.drain.operator import IntentView, list_intents, whoami
from clusterd.errors import Conflict, NothingMatched
from clusterd.etcd.client import Client
from clusterd.etcd.errors import EtcdError
from clusterd.history import HistoryEntry, record_history
from clusterd.keys import Keyspace, check_node_id
from clusterd.node import Node


@dataclass(frozen=True, slots=True)
class Ward:
    """A node that an operator means: its registration, None while it has none, and its intent."""

    id: str
    node: Node | None
    view: IntentView


async def read_wards(
    client: Client, keyspace: Keyspace, ids: Iterable[str], *, offline: bool | None = None
) -> list[Ward]:
    """Return the nodes of these ids, each once. One with an intent is known, also while it isn't registered.

    With `offline` any id may be of a node that is down; False says that this could have been given. Raises
    `InvalidNodeId`, `NothingMatched` for an id that nothing is known of, `Conflict` for a foreign node, which has no
    agent that would do anything, `EtcdError`.
    """
    wanted = [check_node_id(node_id) for node_id in dict.fromkeys(ids)]
    nodes = (await read_topology(client, keyspace)).nodes
    views = {view.node: view for view in await list_intents(client, keyspace)}
    missing = [node_id for node_id in wanted if node_id not in nodes and node_id not in views]
    if missing and not offline:
        raise NothingMatched(
            f"no node {', '.join(missing)}; nothing was changed" if offline is None else not_there(missing)
        )
    wards = [Ward(each, nodes.get(each), views.get(each, IntentView(each))) for each in wanted]
    if foreign := [ward.id for ward in wards if ward.node and ward.node.foreign]:
        raise Conflict(f"node {', '.join(foreign)} is foreign: it has no agent to do that; nothing was changed")
    return wards


def confirm(fact: str, question: str, *, yes: bool) -> None:
    """Ask whether that is meant, unless the answer was given. Raises `Conflict` if it isn't, or nobody can be asked."""
    if yes:
        return
    if not person_to_ask():
        raise Conflict(f"not confirmed: {fact}; give -y where nobody can be asked. Nothing was changed")
    if not click.confirm(printable(f"{fact}. {question}"), err=True):
        raise Conflict("not confirmed: nothing was changed")


async def tell_history(
    client: Client, keyspace: Keyspace, what: str, views: Iterable[IntentView], *, reason: str = "", details: str = ""
) -> None:
    """Put what was done to these nodes into the history. It is done all the same where that fails."""
    at, by = format_time(now()), whoami()
    entries = [
        HistoryEntry(at=at, what=what, node=view.node, by=by, reason=reason, intent=_id(view.intent), details=details)
        for view in views
    ]
    try:
        await record_history(client, keyspace, *entries)
    except EtcdError as error:
        say(f"not written into the history: {error}")


def _id(intent: Intent | None) -> str:
    return intent.id if intent else ""
