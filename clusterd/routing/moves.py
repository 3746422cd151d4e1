"""Which slots moved between two topologies, from whom to whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias, overload

import msgspec
import numpy as np
import numpy.typing as npt

from clusterd.node import Node
from clusterd.routing.hashing import Slots
from clusterd.routing.table import SlotTable

Positions: TypeAlias = npt.NDArray[np.integer]
Choices: TypeAlias = tuple[Node | None, ...]


class Move(msgspec.Struct, frozen=True):
    """A slot whose owner is another node than before; None stands for nobody."""

    slot: int
    before: Node | None
    after: Node | None


class Moves(Sequence[Move]):
    """The slots that moved, in ascending order; `slots` has all their numbers as an array.

    Owners are told apart by their ids: a node that came back as another instance kept its slots.
    """

    __slots__ = ("_after", "_afters", "_before", "_befores", "slots")

    slots: Slots

    def __init__(self, slots: Slots, before: Positions, after: Positions, befores: Choices, afters: Choices) -> None:
        self.slots = slots
        self._before, self._after = before, after
        self._befores, self._afters = befores, afters

    @classmethod
    def between(cls, before: SlotTable, after: SlotTable) -> Moves:
        """Return the moves that lead from one table to the other."""
        positions = {_id(node): position for position, node in enumerate(after.choices)}
        same = np.array([positions.get(_id(node), -1) for node in before.choices], np.int64)
        slots = np.flatnonzero(same[before.owners] != after.owners)
        return cls(slots, before.owners[slots], after.owners[slots], before.choices, after.choices)

    def leaving(self, node_id: str) -> Moves:
        """Return the moves away from this node."""
        return self._where(self._before, self._befores, node_id)

    def arriving(self, node_id: str) -> Moves:
        """Return the moves to this node."""
        return self._where(self._after, self._afters, node_id)

    def at(self, slot: int) -> Move | None:
        """Return the move of this slot, or None if it stayed where it was."""
        index = int(np.searchsorted(self.slots, slot))
        return self[index] if index < len(self) and self.slots[index] == slot else None

    def __len__(self) -> int:
        return len(self.slots)

    @overload
    def __getitem__(self, index: int) -> Move: ...

    @overload
    def __getitem__(self, index: slice) -> Moves: ...

    def __getitem__(self, index: int | slice) -> Move | Moves:
        if isinstance(index, slice):
            return self._subset(np.arange(len(self))[index])
        before, after = self._befores[self._before[index]], self._afters[self._after[index]]
        return Move(int(self.slots[index]), before, after)

    def __iter__(self) -> Iterator[Move]:
        befores = map(self._befores.__getitem__, self._before.tolist())
        afters = map(self._afters.__getitem__, self._after.tolist())
        return map(Move, self.slots.tolist(), befores, afters)

    def __repr__(self) -> str:
        return f"<Moves of {len(self)} slots>"

    def _where(self, positions: Positions, choices: Choices, node_id: str) -> Moves:
        found = [position for position, node in enumerate(choices) if _id(node) == node_id]
        return self._subset(np.flatnonzero(np.isin(positions, found)))

    def _subset(self, indexes: Positions) -> Moves:
        before, after = self._before[indexes], self._after[indexes]
        return Moves(self.slots[indexes], before, after, self._befores, self._afters)


def _id(node: Node | None) -> str | None:
    return None if node is None else node.id
