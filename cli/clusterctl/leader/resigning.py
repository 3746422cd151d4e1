"""`leader NAME --resign`: an operator takes the office away from whoever holds it."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from clusterctl.render import documents
from clusterctl.render.elections import candidate_document
from clusterctl.render.text import printable
from clusterctl.screen import Screen, now, person_to_ask
from clusterctl.settings import Settings
from clusterd.drain.intent import format_time
from clusterd.drain.operator import whoami
from clusterd.election import Candidate, ElectionView, depose, read_election
from clusterd.errors import Conflict, NothingMatched
from clusterd.etcd.client import Client
from clusterd.history import HistoryEntry
from clusterd.keys import NODE_ID, Keyspace

RESIGNED = ("table", "json", "jsonl", "yaml")
"""The forms in which is shown who led and who leads."""


def resign(settings: Settings, screen: Screen, name: str, output: str, *, confirmed: bool) -> None:
    """Make the leader give the office up. Raises `NothingMatched`, `Conflict`, `EtcdError`.

    The question comes between two runs of the event loop, so that Ctrl-C reaches it.
    """
    election = asyncio.run(_look(settings, name))
    if not confirmed:
        _confirm(election)
    successor = asyncio.run(_depose(settings, election))
    screen.write(as_text(election, successor, output))


async def find(client: Client, keyspace: Keyspace, name: str) -> ElectionView:
    """Return an election that somebody stands in. Raises `NothingMatched`, `EtcdError`."""
    election = await read_election(client, keyspace, name)
    if election is None:
        raise NothingMatched(f"no election {name}: nobody stands in it")
    return election


def as_text(election: ElectionView, successor: Candidate | None, output: str) -> str:
    """Return who led and who leads, as a sentence or as a document."""
    led = election.leader
    if output == "table":
        now = f"{successor.id} leads it now (fence {successor.fence})" if successor else "nobody leads it now"
        return printable(f"{led.id} led {election.name} (fence {led.fence}); {now}")
    document: dict[str, Any] = {
        "election": election.name,
        "led": candidate_document(led),
        "leader": candidate_document(successor) if successor else None,
    }
    if output == "yaml":
        return documents.as_yaml(document)
    return documents.as_json(document) if output == "json" else documents.as_json_line(document)


async def _look(settings: Settings, name: str) -> ElectionView:
    async with Client(settings.etcd) as client:
        return await find(client, settings.keyspace, name)


async def _depose(settings: Settings, election: ElectionView) -> Candidate | None:
    """Return who leads afterwards."""
    led = election.leader
    async with Client(settings.etcd) as client:
        deposed = await depose(client, settings.keyspace, led, _entry(election))
        after = await read_election(client, settings.keyspace, election.name)
    successor = after.leader if after else None
    if not deposed:
        now = f"{successor.id} does (fence {successor.fence})" if successor else "nobody does"
        raise Conflict(f"{led.id} doesn't lead {election.name} with fence {led.fence} any more: {now}")
    return successor


def _entry(election: ElectionView) -> HistoryEntry:
    """Return what the history is to have of it; a leader need not be a node."""
    led = election.leader
    node = led.id if NODE_ID.fullmatch(led.id) else ""
    details = f"led {election.name} with fence {led.fence}"
    return HistoryEntry(at=format_time(now()), what="depose", node=node, by=whoami(), details=details)


def _confirm(election: ElectionView) -> None:
    """Ask whether that is meant. Raises `Conflict` if it isn't, or nobody can be asked."""
    led = election.leader
    fact = f"{led.id} leads {election.name} (fence {led.fence}), {len(election.waiting)} waiting"
    if not person_to_ask():
        raise Conflict(f"not confirmed: {fact}; give -y where nobody can be asked")
    if not click.confirm(printable(f"{fact}. Make it give the office up?"), err=True):
        raise Conflict(f"not confirmed: {led.id} keeps {election.name}")
