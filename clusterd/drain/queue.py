"""The queue for permits to drain: who may go, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from clusterd.drain.limits import Limit
from clusterd.errors import UsageError
from clusterd.node import Node, NodeState
from clusterd.records import reader_or_none


class Permit(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON document under `permits/drain/<lease-hex>`: which node drains or waits, within which limits.

    `granted` is false while it only holds a place in the queue; one that doesn't say counts as granted. `order` is the
    node's turn within its `cohort`.
    """

    node: str
    v: int = 1
    intent: str = ""
    max_unavailable: str | None = None
    min_active: str | None = None
    cohort: str = ""
    order: int = 0
    granted: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """A permit's place in the queue: its create revision, and what it says (None: it can't be read)."""

    since: int
    permit: Permit | None

    @property
    def granted(self) -> bool:
        """Whether it may drain; of what can't be read that is assumed."""
        return self.permit is None or self.permit.granted


HALF_PLACED = "the cohort: not all of its nodes have been asked yet; if its operator was interrupted, undrain it"
"""What a cohort waits for, however long, while its intents are being placed."""

_encode = msgspec.json.Encoder().encode
_read = reader_or_none(Permit)


def encode_permit(permit: Permit) -> bytes:
    """Return the document to be written."""
    return _encode(permit)


def decode_permit(value: bytes) -> Permit | None:
    """Return the permit, or None where the value isn't one: somebody drains, within no limit that is known."""
    return _read(value)


def permit_needs(own: Permit, since: int, queue: Iterable[Place], nodes: Iterable[Node]) -> str:
    """Return what a permit created at revision `since` still waits for; empty when it may be granted.

    It may when those that drain, and those that wait and have their turn before it, are fewer than the smallest limit
    among theirs and its own allows, and enough of the fleet's `nodes` are active beside it. A node's own other permit,
    of an instance that died, doesn't count.

    Whoever grants itself a permit in a transaction that fails if anything was put into the queue meanwhile keeps this:
    at no time do more drain than any of them allows. For that it doesn't matter in which order they come.
    """
    fleet = [node for node in nodes if not node.foreign]
    places = [place for place in queue if place.since != since and not _same_node(place.permit, own)]
    turns = _Turns([*places, Place(since, own)])
    mine = turns.of(Place(since, own))
    going = [place for place in places if place.granted]
    before = [place for place in places if not place.granted and turns.of(place) < mine]
    limits = [limit for place in (*going, *before) if place.permit and (limit := _limit(place.permit.max_unavailable))]
    limits += [limit for limit in (_limit(own.max_unavailable),) if limit]
    if limits and len(going) + len(before) >= (most := min(limit.at_most(len(fleet)) for limit in limits)):
        return _taken(going) if len(going) >= most else f"a permit: {_names(before)} first"
    return _active_needs(own, fleet)


def order_needs(own: Permit, queue: Iterable[Place], members: Mapping[str, int], nodes: Iterable[Node]) -> str:
    """Return which of its cohort a node lets go first, because they are about to queue up; empty for none.

    `members` are the nodes of the cohort with their order. Without a limit all go at once, and nobody waits.
    """
    if own.max_unavailable is None:
        return ""
    queued = {place.permit.node for place in queue if place.permit is not None}
    cordoned = {node.id for node in nodes if node.state is NodeState.CORDONED}
    coming = [node for node, order in members.items() if order < own.order and node in cordoned - queued]
    return f"its turn in the cohort: {', '.join(sorted(coming))} first" if coming else ""


class _Turns:
    """The order of a queue: a cohort stands where the first of it came, and within it goes by its own order."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._came: dict[str, int] = {}
        for place in places:
            cohort = place.permit.cohort if place.permit else ""
            self._came[cohort] = min(place.since, self._came.get(cohort, place.since))

    def of(self, place: Place) -> tuple[int, str, int, int]:
        """Return what the places are sorted by."""
        if place.permit is None or not place.permit.cohort:
            return (place.since, "", 0, place.since)
        return (self._came[place.permit.cohort], place.permit.cohort, place.permit.order, place.since)


def _taken(going: list[Place]) -> str:
    return f"a permit: {_names(going)} drain{'s' if len(going) == 1 else ''} already, and no more may at once"


def _names(places: list[Place]) -> str:
    return ", ".join(sorted(place.permit.node if place.permit else "somebody" for place in places))


def _active_needs(own: Permit, fleet: list[Node]) -> str:
    limit = _limit(own.min_active)
    if limit is None:
        return ""
    wanted = limit.at_least(len(fleet))
    active = sum(n.state is NodeState.ACTIVE and not n.unconfirmed and n.id != own.node for n in fleet)
    return "" if active >= wanted else f"more active nodes: {active} would remain of the {wanted} that must"


def cohort_needs(members: Iterable[str], size: int, nodes: Iterable[Node], *, placing: bool = False) -> str:
    """Return what a cohort still waits for before the first of its sessions moves; empty when all are out of the slots.

    `members` are the nodes known to have an intent of the cohort; one that isn't registered owns no slots either. While
    its operator is still `placing` intents nothing else matters.
    """
    if placing:
        return HALF_PLACED
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
