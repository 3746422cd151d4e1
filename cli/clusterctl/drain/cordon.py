"""`clusterctl cordon` and `clusterctl uncordon`: out of the slots and back, the sessions staying where they are."""

from __future__ import annotations

import asyncio

import click

from clusterctl.completion import complete_node_ids
from clusterctl.drain.operating import Ward, read_wards, tell_history
from clusterctl.options import Command, current_screen, current_settings
from clusterctl.screen import Screen, now, say
from clusterctl.settings import Settings
from clusterd.drain import make_cordon
from clusterd.drain.operator import intent_after, place_intents, whoami, withdraw_intent
from clusterd.errors import Conflict
from clusterd.etcd.client import Client
from clusterd.node import NodeState


@click.command(cls=Command)
@click.argument("ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_node_ids)
@click.option("-m", "--reason", metavar="WHY", default="", help="Why; others see it.")
@click.option("--offline", is_flag=True, help="IDs may also be of nodes that are down: they come up cordoned.")
def cordon(ids: tuple[str, ...], reason: str, offline: bool) -> None:
    """Take nodes out of the slots: they keep their sessions, and get no new keys.

    Holds over restarts, until uncordon. Exit code 4 when an ID is no node, 5 when one is being drained; then nothing
    is changed.
    """
    asyncio.run(_cordon(current_settings(), current_screen(), ids, reason, offline=offline))


@click.command(cls=Command)
@click.argument("ids", metavar="ID...", nargs=-1, required=True, shell_complete=complete_node_ids)
def uncordon(ids: tuple[str, ...]) -> None:
    """Let cordoned nodes into the slots again.

    Exit code 4 when an ID is no node, 5 when one is being drained: that is for undrain.
    """
    asyncio.run(_uncordon(current_settings(), current_screen(), ids))


async def _cordon(settings: Settings, screen: Screen, ids: tuple[str, ...], reason: str, *, offline: bool) -> None:
    keyspace = settings.keyspace
    async with Client(settings.etcd) as client:
        wards = await read_wards(client, keyspace, ids, offline=offline)
        wanted = [ward for ward in wards if not _cordoned(ward)]
        for ward in wards:
            if _cordoned(ward):
                say(f"{ward.id} is cordoned already{_by(ward)}")
        intents = {each.id: make_cordon(by=whoami(), reason=reason, now=now()) for each in wanted}
        for ward in wanted:
            intent_after(ward.view, intents[ward.id])
        placed = await place_intents(client, keyspace, intents)
        if placed:
            await tell_history(client, keyspace, "cordon", placed, reason=reason)
    down = {ward.id for ward in wards if ward.node is None}
    for view in placed:
        screen.write(f"{view.node} cordoned" + (", for when it comes up" if view.node in down else ""))


async def _uncordon(settings: Settings, screen: Screen, ids: tuple[str, ...]) -> None:
    keyspace = settings.keyspace
    async with Client(settings.etcd) as client:
        wards = await read_wards(client, keyspace, ids)
        if draining := [ward.id for ward in wards if ward.view.intent and ward.view.intent.drains]:
            raise Conflict(f"node {', '.join(draining)} is being drained: take that back with undrain")
        for ward in wards:
            if _cordoned(ward) or ward.view.unreadable:
                await withdraw_intent(client, keyspace, ward.view)
                await tell_history(client, keyspace, "uncordon", [ward.view])
                screen.write(f"{ward.id} uncordoned")
            else:
                say(_untouched(ward))


def _cordoned(ward: Ward) -> bool:
    return ward.view.intent is not None and not ward.view.intent.drains


def _by(ward: Ward) -> str:
    intent = ward.view.intent
    if intent is None:
        return ""
    return f", by {intent.by or 'somebody'} since {intent.at}" + (f" ({intent.reason})" if intent.reason else "")


def _untouched(ward: Ward) -> str:
    if ward.node is not None and ward.node.state is not NodeState.ACTIVE:
        return f"no operator cordoned {ward.id}: it is {ward.node.state} by itself"
    return f"{ward.id} is not cordoned"
