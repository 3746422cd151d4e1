"""The slot table of a topology: who owns each slot, and who comes next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt

from clusterd.node import Node
from clusterd.routing.hashing import SLOTS, Slots
from clusterd.routing.matching import Matching, match
from clusterd.routing.members import Members, eligible, members_of
from clusterd.routing.ranking import Ints, ranking


class Share(msgspec.Struct, frozen=True):
    """How many slots a node owns, and how many its weight entitles it to."""

    slots: int
    fair: float


class SlotTable:
    """The owners of all slots among these nodes (in the order of their ids; may be none), by this matching of them.

    `choices` holds the nodes, or nothing but None where there are none; `owners` each slot's position among them, and
    `positions` is the same for one slot at a time, which numpy is slow at.
    """

    def __init__(self, nodes: tuple[Node, ...], matching: Matching | None) -> None:
        self.nodes = nodes
        self.matching = matching
        self.choices: tuple[Node | None, ...] = nodes or (None,)
        self.alone: tuple[tuple[Node, ...], ...] = tuple((node,) for node in nodes) or ((),)
        self.owners: npt.NDArray[np.unsignedinteger] = (
            np.zeros(SLOTS, np.uint8) if matching is None else matching.owners
        )
        self.positions = self.owners.data

    @classmethod
    def of(cls, nodes: tuple[Node, ...], base: SlotTable | None) -> SlotTable:
        """Return the table of these nodes; one of similar nodes as `base` makes it cheaper, and no different."""
        if not nodes:
            return cls((), None)
        members = members_of(nodes, ranking())
        near = None if base is None else base.matching
        if near is not None and members.same_as(near.members):
            return cls(nodes, near)
        return cls(nodes, match(members, ranking(), near))

    def owners_of(self, slots: Slots) -> list[Node | None]:
        """Return the owners of many slots, in their order."""
        owners: list[Node | None] = self._choices.take(self.owners.take(slots)).tolist()
        return owners

    def order(self, slot: int, n: int, zone: str | None) -> tuple[Node, ...]:
        """Return up to `n` distinct nodes for a slot: its owner, and those that stand in for it.

        By score, where nodes of `zone` come first, those of the owner's zone last, and the others take turns by zone.
        """
        if self.matching is None:
            return ()
        owner = self.positions[slot]
        others = _by_score(self.matching.members, slot)
        others = others[others != owner]
        zones = self._zones[others]
        tiers = np.where(zones == self._zones[owner], 2, 1)
        tiers[zones == self._zone_codes.get(zone, -1)] = 0
        chosen = others[np.lexsort((_turns(zones), tiers))][: n - 1]
        return (self.nodes[owner], *(self.nodes[position] for position in chosen.tolist()))

    def shares(self) -> dict[str, Share]:
        """Return the share of each node that may own slots, by its id."""
        if self.matching is None:
            return {}
        weights = self.matching.members.weights
        counts = np.bincount(self.owners, minlength=len(self.nodes)).tolist()
        fair = (SLOTS * weights / weights.sum()).tolist()
        shares = map(Share, counts, fair)
        return dict(zip(self.matching.members.ids, shares, strict=True))

    @cached_property
    def _choices(self) -> npt.NDArray[np.object_]:
        return np.array(self.choices, object)

    @cached_property
    def _zone_codes(self) -> Mapping[str | None, int]:
        return {zone: code for code, zone in enumerate(dict.fromkeys(node.zone for node in self.nodes))}

    @cached_property
    def _zones(self) -> Ints:
        return np.array([self._zone_codes[node.zone] for node in self.nodes], np.int64)


class LazyTable:
    """A slot table that is worked out when it is first asked for; topologies of one content share one.

    `base` is the last table that was worked out before: never a topology, so that none is kept alive by the next.
    """

    __slots__ = ("_base", "_eligible", "_nodes", "worked_out")

    def __init__(self, nodes: Iterable[Node], base: SlotTable | None = None) -> None:
        self._nodes: Iterable[Node] = nodes
        self._base = base
        self._eligible: tuple[Node, ...] | None = None
        self.worked_out: SlotTable | None = None

    @property
    def eligible(self) -> tuple[Node, ...]:
        """The nodes that may own slots, in the order of their ids. Raises `UsageError` for a weight out of range."""
        if self._eligible is None:
            self._eligible = eligible(self._nodes)
        return self._eligible

    def get(self, near: SlotTable | None = None) -> SlotTable:
        """Return the table, worked out now if it wasn't: from the base, else from the one `near` it, else anew."""
        if self.worked_out is None:
            self.worked_out = SlotTable.of(self.eligible, self._base or near)
            self._base = None
        return self.worked_out

    def followed_by(self, nodes: Iterable[Node]) -> LazyTable:
        """Return the table-to-be of the next content."""
        return LazyTable(nodes, self.worked_out or self._base)


def _by_score(members: Members, slot: int) -> Ints:
    """Return the positions of all members, the best for this slot first."""
    ranks = ranking().ranks(np.array([slot]), members.keys)
    return np.argsort(ranking().scores(ranks, members.weights), kind="stable")


def _turns(zones: Ints) -> Ints:
    """Return for each node how many of its zone come before it."""
    grouped = np.argsort(zones, kind="stable")
    turns = np.empty_like(zones)
    turns[grouped] = np.arange(len(zones)) - np.searchsorted(zones[grouped], zones[grouped])
    return turns
