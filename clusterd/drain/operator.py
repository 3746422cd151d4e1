"""What an operator does: place, change and withdraw intents, and look at how drains go.

Everything is written in transactions that hold only while the intents are those that the operator saw: of two
operators at once, the second gets `IntentConflict`, which names the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from clusterd.drain.intent import Intent, IntentKind, decode_intent, encode_intent, parse_time
from clusterd.errors import IntentConflict
from clusterd.etcd import ops
from clusterd.etcd.client import Client
from clusterd.etcd.errors import EtcdError
from clusterd.etcd.messages import KeyValue, TxnReply
from clusterd.keys import Keyspace, range_end
from clusterd.node import NodeState
from clusterd.status import NodeStatus, decode_status

# etcd takes at most 128 operations in a transaction, unless told otherwise.
_PER_TXN = 100
_TAKE_BACK_SECONDS = 5.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IntentView:
    """What etcd has under one node's intent key.

    `revision` is the one that wrote it, 0 where nothing is there. `intent` is None for nothing, and for a value that
    isn't an intent (agents pass it over). `node` is text that can be shown, `key` what it stands for.
    """

    node: str
    intent: Intent | None = None
    revision: int = 0
    key: bytes = b""

    @property
    def unreadable(self) -> bool:
        """Whether something is there that isn't an intent."""
        return self.intent is None and self.revision > 0


def whoami() -> str:
    """Return who acts, as `user@host`, for the `by` of an intent."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{platform.node() or 'unknown'}"


async def list_intents(client: Client, keyspace: Keyspace) -> list[IntentView]:
    """Return all intents, by node id. Raises `EtcdError`."""
    prefix = keyspace.intents
    reply = await client.range(prefix, range_end(prefix))
    return [_view(keyspace.node_id(kv.key, prefix), kv) for kv in reply.kvs]


async def read_intent(client: Client, keyspace: Keyspace, node: str) -> IntentView:
    """Return the intent of one node. Raises `EtcdError`, `InvalidNodeId`."""
    reply = await client.range(keyspace.intent(node))
    return _view(node, reply.kvs[0] if reply.kvs else None)


async def place_intents(
    client: Client, keyspace: Keyspace, intents: Mapping[str, Intent], known: Mapping[str, IntentView] | None = None
) -> list[IntentView]:
    """Place intents by node id: all of them, or none. Returns them as they are in etcd now.

    `known` are the intents that the operator saw there, and means to replace: a drain after a cordon says in `was` what
    it found (`intent_after`). Raises `IntentConflict` where another one is in force, `UsageError` for what may not be
    written, `EtcdError`. Then, and where the caller is cancelled, what was placed is taken back within a few seconds.

    Where new drains don't fit into one transaction the first of them is `placing` until the last one is there, and
    their nodes wait: if this process dies halfway, none of them moves a session. Drains that are under way go on.
    """
    before = {node: (known or {}).get(node, IntentView(node)) for node in intents}
    try:
        return await _place_all(client, keyspace, intents, before)
    except (EtcdError, IntentConflict, asyncio.CancelledError):
        await _take_back(client, keyspace, intents, before)
        raise


def intent_after(view: IntentView, intent: Intent) -> Intent:
    """Return the intent as it is to be placed over what is there: an abort of it brings back a cordon.

    Raises `IntentConflict` if a drain is under way: that one is changed, or withdrawn first.
    """
    if view.intent is None and not view.unreadable:
        return intent
    if view.intent is None or view.intent.drains:
        raise _conflict(view)
    return msgspec.structs.replace(intent, was=NodeState.CORDONED)


async def change_intent(client: Client, keyspace: Keyspace, view: IntentView, **terms: Any) -> IntentView:
    """Change the terms of an intent in force (`Intent.changed`): its id, author and start stay.

    Raises `IntentConflict` if it isn't the one that was seen any more, `UsageError`, `EtcdError`.
    """
    if view.intent is None:
        raise IntentConflict(f"node {view.node} has no intent that could be changed")
    changed = view.intent.changed(**terms)
    return (await place_intents(client, keyspace, {view.node: changed}, {view.node: view}))[0]


async def withdraw_intent(
    client: Client, keyspace: Keyspace, view: IntentView, *, cordon: Intent | None = None, also: Sequence[ops.Op] = ()
) -> IntentView:
    """Withdraw an intent, so that the node is active again; with `cordon`, put that in its place.

    Also withdraws a value that isn't an intent. `also` are operations of the same transaction. Raises `IntentConflict`
    if it isn't what was seen any more, `EtcdError`.
    """
    key = view.key or keyspace.intent(view.node)
    instead = ops.delete(key) if cordon is None else ops.put(key, encode_intent(cordon))
    reply = await client.txn([ops.mod_revision_is(key, view.revision)], [instead, *also], [ops.get(key)])
    after = IntentView(view.node) if cordon is None else IntentView(view.node, cordon, reply.header.revision, key)
    found = after if reply.succeeded else _view(view.node, reply.found())
    if found.intent != after.intent or found.unreadable:  # the same is our own write, whose answer was lost
        raise _conflict(found)
    return found


async def prune_intent(client: Client, keyspace: Keyspace, view: IntentView) -> None:
    """Drop the intent of a node that is gone, if it still is, and the intent still the one that was seen.

    Raises `IntentConflict` if not, `EtcdError`.
    """
    key, node = view.key, keyspace.nodes + view.key[len(keyspace.intents) :]
    absent = ops.mod_revision_is(node, 0)
    reply = await client.txn(
        [ops.mod_revision_is(key, view.revision), absent], [ops.delete(key)], [ops.get(key), ops.get(node)]
    )
    if not reply.succeeded and (found := reply.found()) is not None:
        if reply.found(1) is not None:
            raise IntentConflict(f"node {view.node} is back: its intent stays")
        raise _conflict(_view(view.node, found))


async def find_orphans(client: Client, keyspace: Keyspace, *, older_than: float, now: datetime) -> list[IntentView]:
    """Return the intents of nodes that aren't registered, placed over `older_than` seconds ago. Raises `EtcdError`.

    A node that is down can be drained for when it returns, so that absence alone means nothing.
    """
    prefix = keyspace.nodes
    reply = await client.range(prefix, range_end(prefix), keys_only=True)
    registered = {keyspace.node_id(kv.key) for kv in reply.kvs}
    absent = [view for view in await list_intents(client, keyspace) if view.node not in registered]
    return [view for view in absent if view.intent is None or _age(view.intent, now) > older_than]


async def read_statuses(client: Client, keyspace: Keyspace, nodes: Iterable[str]) -> dict[str, NodeStatus]:
    """Return what these nodes publish of themselves, their drains' progress too; nodes that don't are left out.

    Raises `EtcdError`.
    """
    found: dict[str, NodeStatus] = {}
    for chunk in _chunks(list(nodes)):
        reply = await client.txn([], [ops.get(keyspace.node_status(node)) for node in chunk], [])
        for index, node in enumerate(chunk):
            kv = reply.found(index)
            if kv is not None and (status := decode_status(kv.value)) is not None:
                found[node] = status
    return found


async def _place_all(
    client: Client, keyspace: Keyspace, intents: Mapping[str, Intent], before: Mapping[str, IntentView]
) -> list[IntentView]:
    chunks = list(_chunks(list(intents)))
    parts = [{node: intents[node] for node in chunk} for chunk in chunks]
    if len(parts) <= 1 or not all(_begins(intent, before[node]) for node, intent in intents.items()):
        return [view for part in parts for view in await _place(client, keyspace, part, before)]
    first = next(iter(intents))
    parts[0] = {**parts[0], first: msgspec.structs.replace(intents[first], placing=True)}
    placed: dict[str, IntentView] = {}
    for part in parts[:-1]:
        placed |= {view.node: view for view in await _place(client, keyspace, part, before)}
    last = {**parts[-1], first: intents[first]}
    placed |= {view.node: view for view in await _place(client, keyspace, last, {**before, first: placed[first]})}
    return list(placed.values())


async def _place(
    client: Client, keyspace: Keyspace, intents: Mapping[str, Intent], before: Mapping[str, IntentView]
) -> list[IntentView]:
    values = {node: encode_intent(intent) for node, intent in intents.items()}
    reply = await client.txn(
        [ops.mod_revision_is(keyspace.intent(node), before[node].revision) for node in values],
        [ops.put(keyspace.intent(node), value) for node, value in values.items()],
        [ops.get(keyspace.intent(node)) for node in values],
    )
    if reply.succeeded:
        revision = reply.header.revision
        return [IntentView(node, intent, revision, keyspace.intent(node)) for node, intent in intents.items()]
    return _resolve(reply, intents, before)


def _resolve(reply: TxnReply, intents: Mapping[str, Intent], before: Mapping[str, IntentView]) -> list[IntentView]:
    """Tell a conflict from our own write whose answer was lost: that one left all of them as they were to be."""
    views = [_view(node, reply.found(index)) for index, node in enumerate(intents)]
    if [view.intent for view in views] == list(intents.values()):
        return views
    raise _conflict(next((view for view in views if view.revision != before[view.node].revision), views[0]))


async def _take_back(
    client: Client, keyspace: Keyspace, intents: Mapping[str, Intent], before: Mapping[str, IntentView]
) -> None:
    """Restore what was there before, wherever our intents are, the last ones first; gives up after a few seconds."""
    with contextlib.suppress(EtcdError, TimeoutError):
        async with asyncio.timeout(_TAKE_BACK_SECONDS):
            views = {view.node: view for view in await list_intents(client, keyspace)}
            there = [(views[node], intent) for node, intent in intents.items() if node in views]
            ours = [view for view, intent in reversed(there) if _is(view.intent, intent)]
            for chunk in _chunks(ours):
                if not await _restore(client, chunk, before):
                    for view in chunk:  # somebody has touched one of them
                        await _restore(client, [view], before)


async def _restore(client: Client, views: Sequence[IntentView], before: Mapping[str, IntentView]) -> bool:
    olds = {view.key: before[view.node].intent for view in views}
    restore = [ops.delete(key) if old is None else ops.put(key, encode_intent(old)) for key, old in olds.items()]
    reply = await client.txn([ops.mod_revision_is(view.key, view.revision) for view in views], restore, [])
    return reply.succeeded


def _begins(intent: Intent, before: IntentView) -> bool:
    """Whether it is a drain that isn't under way yet."""
    return intent.drains and (before.intent is None or before.intent.id != intent.id)


def _is(found: Intent | None, ours: Intent) -> bool:
    return found is not None and found in (ours, msgspec.structs.replace(ours, placing=True))


def _conflict(view: IntentView) -> IntentConflict:
    if view.revision == 0:
        return IntentConflict(f"node {view.node}: the intent was withdrawn meanwhile: look again")
    if view.intent is None:
        return IntentConflict(f"node {view.node} has an intent that can't be read: withdraw it first")
    intent = view.intent
    word = "drained" if intent.kind is IntentKind.DRAIN else "cordoned"
    why = f" ({intent.reason})" if intent.reason else ""
    return IntentConflict(f"node {view.node} is being {word} by {intent.by or 'somebody'} since {intent.at}{why}")


def _view(node: str, kv: KeyValue | None) -> IntentView:
    return IntentView(node, decode_intent(kv.value), kv.mod_revision, kv.key) if kv else IntentView(node)


def _age(intent: Intent, now: datetime) -> float:
    return (now - parse_time(intent.at, "at")) / timedelta(seconds=1)


def _chunks(items: list[T]) -> Iterator[list[T]]:
    return (items[start : start + _PER_TXN] for start in range(0, len(items), _PER_TXN))
