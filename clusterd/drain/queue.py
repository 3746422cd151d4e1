"""The queue for permits to drain: who may go, by the order in which they came. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from clusterd.drain.limits import Limit
from clusterd.errors import UsageError
from clusterd.node import Node, NodeState
from clusterd.records import MAX_RECORD_BYTES


class Permit(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON document under `permits/drain/<lease-hex>`: which node drains, within which limits."""

    node: str
    v: int = 1
    intent: str = ""
    max_unavailable: str | None = None
    min_active: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A permit's place in the queue: its create revision, and what it says (None: it can't be read)."""

    since: int
    permit: Permit | None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Permit).decode


def encode_permit(permit: Permit) -> bytes:
    """Return the document to be written."""
    return _encode(permit)


def decode_permit(value: bytes) -> Permit | None:
    """Return the permit, or None where the value isn't one: somebody drains, within no limit that is known."""
    if len(value) > MAX_RECORD_BYTES:
        return None
    try:
        return _decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def permit_needs(own: Permit, since: int, queue: Iterable[Place], nodes: Iterable[Node]) -> str:
    """Return what a permit created at revision `since` still waits for; empty when its node may begin.

    It may when fewer drain ahead of it than the smallest limit among theirs and its own allows, and enough of the
    fleet's `nodes` are active beside it. A node's own older permit, of an instance that died, doesn't count.
    """
    fleet = [node for node in nodes if not node.foreign]
    ahead = [place for place in queue if place.since < since and not _same_node(place.permit, own)]
    permits = [own, *(place.permit for place in ahead if place.permit is not None)]
    limits = [limit for permit in permits if (limit := _limit(permit.max_unavailable)) is not None]
    if limits and len(ahead) >= min(limit.at_most(len(fleet)) for limit in limits):
        holders = ", ".join(sorted(place.permit.node if place.permit else "somebody" for place in ahead))
        return f"a permit: {holders} drain{'s' if len(ahead) == 1 else ''} already, and no more may at once"
    return _active_needs(own, fleet)


def _active_needs(own: Permit, fleet: list[Node]) -> str:
    limit = _limit(own.min_active)
    if limit is None:
        return ""
    wanted = limit.at_least(len(fleet))
    active = sum(n.state is NodeState.ACTIVE and not n.unconfirmed and n.id != own.node for n in fleet)
    return "" if active >= wanted else f"more active nodes: {active} would remain of the {wanted} that must"


def cohort_needs(members: Iterable[str], size: int, nodes: Iterable[Node]) -> str:
    """Return what a cohort still waits for before the first of its sessions moves; empty when all are out of the slots.

    `members` are the nodes known to have an intent of the cohort; one that isn't registered owns no slots either.
    """
    states = {node.id: node.state for node in nodes}
    known = sorted(members)
    active = [node for node in known if states.get(node) is NodeState.ACTIVE]
    if active:
        return f"the cohort: {', '.join(active)} not cordoned yet"
    return "" if len(known) >= size else f"the cohort: {len(known)} of its {size} intents are there yet"


def _same_node(permit: Permit | None, own: Permit) -> bool:
    return permit is not None and permit.node == own.node


def _limit(text: str | None) -> Limit | None:
    """Return a limit as written; one that can't be read is passed over, as its writer was no agent."""
    try:
        return None if text is None else Limit.parse(text, "limit")
    except UsageError:
        return None
