"""Operators who cordon, drain, change and take back, and remember what they were promised."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from clusterd import IntentConflict, NodeState, UsageError
from clusterd.drain.intent import Intent, make_cordon, make_drain
from clusterd.drain.operator import (
    IntentView,
    change_intent,
    intent_after,
    list_intents,
    place_intents,
    read_intent,
    withdraw_intent,
)
from clusterd.etcd.errors import EtcdError
from clusterd.keys import Keyspace
from tests.chaos.fleet.stage import Stage

_KEYS = Keyspace()
_MOST = 0.3  # of all nodes are out of the slots at once


class Operators:
    """Act on random nodes, and keep a ledger: by node, the id of the intent that etcd confirmed (None: withdrawn).

    Where no answer came the outcome isn't known: what is found there at the next look goes into the ledger.
    """

    usual = ("cordon", "drain", "drain", "change", "take_back", "take_back")

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._rng = stage.rng
        self._client = stage.client
        self._ledger: dict[str, str | None] = {}
        self._unsure: set[str] = set()

    async def cordon(self) -> None:
        await self._place(make_cordon(by="chaos", now=datetime.now(UTC)))

    async def drain(self) -> None:
        limit = self._rng.choice([None, None, "25%"])
        await self._place(make_drain(by="chaos", now=datetime.now(UTC), settle=0.3, max_unavailable=limit))

    async def change(self) -> None:
        node = self._one_of_ours()
        view = await read_intent(self._client, _KEYS, node)
        if view.intent is not None and view.intent.drains:
            await self._note(node, change_intent(self._client, _KEYS, view, rate=float(self._rng.randint(5, 50))))

    async def take_back(self) -> None:
        node = self._one_of_ours()
        view = await read_intent(self._client, _KEYS, node)
        if view.revision:
            await self._note(node, withdraw_intent(self._client, _KEYS, view))

    async def take_all_back(self) -> None:
        """Withdraw whatever there is. Raises `EtcdError`."""
        for view in await list_intents(self._client, _KEYS):
            await self._note(view.node, withdraw_intent(self._client, _KEYS, view))

    async def reconcile(self) -> dict[str, Intent]:
        """Hold the ledger against etcd, and return the intents there are. Raises `EtcdError`."""
        views = {view.node: view.intent for view in await list_intents(self._client, _KEYS) if view.intent}
        for node, intent in self._ledger.items():
            found = views[node].id if node in views else None
            if found != intent and node not in self._unsure:
                self._stage.violation(node, f"its intent was lost: {intent} was confirmed, {found} is there")
        self.forget()
        self._ledger = {node: intent.id for node, intent in views.items()}
        return views

    def forget(self) -> None:
        """Know nothing any more: etcd was rebuilt."""
        self._ledger.clear()
        self._unsure.clear()

    async def _place(self, intent: Intent) -> None:
        if len([held for held in self._ledger.values() if held]) >= _MOST * len(self._stage.wanted):
            return
        node = self._rng.choice(sorted(self._stage.wanted) or ["gw-00"])
        view = await read_intent(self._client, _KEYS, node)
        if view.intent is None or not view.intent.drains:
            placed = place_intents(self._client, _KEYS, {node: intent_after(view, intent)}, {node: view})
            await self._note(node, placed)

    async def _note(self, node: str, action: object) -> None:
        """Do it, and note what came of it."""
        self._unsure.add(node)
        done = await action  # type: ignore[misc]
        view: IntentView = done[0] if isinstance(done, list) else done
        self._ledger[node] = view.intent.id if view.intent else None
        self._unsure.discard(node)

    def _one_of_ours(self) -> str:
        return self._rng.choice(sorted(node for node, intent in self._ledger.items() if intent) or ["gw-00"])


def obeyed(state: NodeState, intent: Intent | None) -> bool:
    """Whether a node has the state that its intent asks for in the end."""
    if intent is None:
        return state is NodeState.ACTIVE
    if not intent.drains:
        return state is NodeState.CORDONED
    if intent.max_unavailable is not None:  # others may be before it in the queue
        return state is not NodeState.ACTIVE
    return state is NodeState.DRAINED


REFUSALS = (EtcdError, IntentConflict, UsageError)
"""What an operator may be told; the next one tries again."""


async def pause(stage: Stage) -> None:
    """Let an operator think."""
    await asyncio.sleep(stage.rng.uniform(0.1, 0.6))
