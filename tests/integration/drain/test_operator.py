"""Operators place, change and withdraw intents, at the same time as others do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clusterd import NodeState
from clusterd.drain import Intent, make_cordon, make_drain
from clusterd.drain.operator import (
    change_intent,
    find_orphans,
    intent_after,
    list_intents,
    place_intents,
    prune_intent,
    read_intent,
    withdraw_intent,
)
from clusterd.errors import IntentConflict
from clusterd.etcd.client import Client
from clusterd.etcd.options import EtcdOptions
from clusterd.history import HistoryEntry, read_history, record_history
from clusterd.keys import Keyspace
from clusterd.testing import EtcdServer

KEYS = Keyspace()


def drain(by: str = "ann@ops", **terms: Any) -> Intent:
    return make_drain(by=by, now=datetime.now(UTC), **terms)


def cordon(by: str = "ann@ops") -> Intent:
    return make_cordon(by=by, now=datetime.now(UTC))


@pytest.fixture
async def client(etcd: EtcdServer) -> AsyncIterator[Client]:
    async with Client(EtcdOptions.of(etcd.endpoint)) as client:
        yield client


async def test_of_two_operators_at_once_one_is_told_of_the_other(client: Client) -> None:
    results = await asyncio.gather(
        place_intents(client, KEYS, {"gw-1": drain("ann@ops", reason="kernel")}),
        place_intents(client, KEYS, {"gw-1": drain("bob@ops", reason="kernel")}),
        return_exceptions=True,
    )
    (conflict,) = [result for result in results if isinstance(result, IntentConflict)]
    winner = (await read_intent(client, KEYS, "gw-1")).intent
    assert winner is not None
    assert f"being drained by {winner.by} since {winner.at} (kernel)" in str(conflict)
    assert conflict.exit_code == 5


async def test_intents_for_several_nodes_are_placed_all_or_none(client: Client) -> None:
    await place_intents(client, KEYS, {"gw-220": cordon("bob@ops")})
    with pytest.raises(IntentConflict, match="node gw-220 is being cordoned by bob@ops"):
        await place_intents(client, KEYS, {f"gw-{number}": drain() for number in range(250)})
    assert [view.node for view in await list_intents(client, KEYS)] == ["gw-220"]


async def test_a_drain_of_a_cordoned_node_remembers_what_it_was(client: Client) -> None:
    (view,) = await place_intents(client, KEYS, {"gw-1": cordon()})
    (drained,) = await place_intents(client, KEYS, {"gw-1": intent_after(view, drain())}, {"gw-1": view})
    assert drained.intent is not None
    assert drained.intent.was is NodeState.CORDONED
    with pytest.raises(IntentConflict, match="being drained by ann@ops"):
        intent_after(drained, drain())


async def test_a_running_drain_is_changed_and_keeps_its_start(client: Client) -> None:
    (view,) = await place_intents(client, KEYS, {"gw-1": drain(rate=5.0)})
    changed = await change_intent(client, KEYS, view, rate=50.0)
    read = await read_intent(client, KEYS, "gw-1")
    assert read == changed
    assert read.intent is not None
    assert view.intent is not None
    assert (read.intent.at, read.intent.id, read.intent.rate) == (view.intent.at, view.intent.id, 50.0)
    with pytest.raises(IntentConflict):
        await change_intent(client, KEYS, view, rate=1.0)


async def test_a_drain_is_withdrawn_or_becomes_a_cordon(client: Client) -> None:
    views = await place_intents(client, KEYS, {"gw-1": drain(), "gw-2": drain()})
    await withdraw_intent(client, KEYS, views[0])
    kept = await withdraw_intent(client, KEYS, views[1], cordon=cordon())
    assert [view.node for view in await list_intents(client, KEYS)] == ["gw-2"]
    with pytest.raises(IntentConflict, match="being cordoned"):
        await withdraw_intent(client, KEYS, views[1])
    await withdraw_intent(client, KEYS, kept)
    await withdraw_intent(client, KEYS, kept)  # gone already: what was wanted holds


async def test_what_is_not_an_intent_is_listed_and_can_be_withdrawn(etcd: EtcdServer, client: Client) -> None:
    for key, value in {"gw-1": b"drain please", "\x1b[2J": b"{}"}.items():
        await etcd.admin.put(f"/intents/{key}", value)
    views = await list_intents(client, KEYS)
    assert all(view.unreadable and view.node.isprintable() for view in views)
    with pytest.raises(IntentConflict, match="can't be read"):
        await place_intents(client, KEYS, {"gw-1": drain()})
    for view in views:
        await withdraw_intent(client, KEYS, view)
    assert await list_intents(client, KEYS) == []


async def test_intents_of_nodes_long_gone_are_found(etcd: EtcdServer, client: Client) -> None:
    now = datetime.now(UTC)
    await etcd.admin.put("/nodes/here", b"active")
    await place_intents(client, KEYS, {"here": drain(), "gone": drain()})
    assert await find_orphans(client, KEYS, older_than=3600, now=now) == []
    later = await find_orphans(client, KEYS, older_than=3600, now=now + timedelta(hours=2))
    assert [view.node for view in later] == ["gone"]


async def test_the_history_is_kept_in_order_and_under_a_lease(etcd: EtcdServer, client: Client) -> None:
    for number in range(3):
        await record_history(client, KEYS, HistoryEntry(at="2026-01-31T12:00:00Z", what="drain", node=f"gw-{number}"))
    await etcd.admin.put("/history/zzz", b"not ours")
    assert [entry.node for entry in await read_history(client, KEYS)] == ["gw-0", "gw-1", "gw-2"]
    assert [entry.node for entry in await read_history(client, KEYS, limit=2)] == ["gw-2"]
    stored = await etcd.admin.range("/history/")
    assert all(kv.lease for kv in stored if kv.key != b"/history/zzz" and kv.key != "/history/zzz")


async def test_the_intent_of_a_node_that_is_back_is_not_pruned(etcd: EtcdServer, client: Client) -> None:
    (view,) = await place_intents(client, KEYS, {"gone": drain()})
    await etcd.admin.put("/nodes/gone", b"active")
    with pytest.raises(IntentConflict, match="node gone is back: its intent stays"):
        await prune_intent(client, KEYS, view)
    await etcd.admin.delete("/nodes/gone")
    changed = await change_intent(client, KEYS, view, rate=5.0)
    with pytest.raises(IntentConflict, match="being drained"):
        await prune_intent(client, KEYS, view)
    await prune_intent(client, KEYS, changed)
    await prune_intent(client, KEYS, changed)  # gone already: what was wanted holds
    assert await list_intents(client, KEYS) == []


async def test_a_conflict_halfway_leaves_what_others_placed(client: Client) -> None:
    (theirs,) = await place_intents(client, KEYS, {"gw-1": drain("bob@ops")})
    changed = await change_intent(client, KEYS, theirs, rate=5.0)
    with pytest.raises(IntentConflict):
        await change_intent(client, KEYS, theirs, rate=7.0)
    assert await list_intents(client, KEYS) == [changed]
