"""What a topology can tell about keys and slots."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from xxhash import xxh3_64_intdigest

from clusterd.errors import UsageError
from clusterd.node import Node
from clusterd.routing.hashing import HASH_SHIFT, SLOTS, Key, key_bytes, slot_of, slots_of
from clusterd.routing.moves import Moves
from clusterd.routing.table import LazyTable, Share


class Route(msgspec.Struct, frozen=True, gc=False):
    """Where a key goes: `nodes` has its owner first, then the nodes to fall back on, all distinct.

    `owner` is None and `nodes` empty where no node may own slots. `revision` is that of the topology that decided.
    """

    owner: Node | None
    nodes: tuple[Node, ...]
    slot: int
    revision: int


class Router:
    """The routing side of a topology. The slot table behind it is worked out at the first question, not before.

    Every question raises `UsageError` if a node's weight is out of range, and `InvalidKey` (a `TypeError`) for a key
    that is neither a str nor bytes.
    """

    __slots__ = ("table",)

    revision: int
    synced_revision: int
    cluster_id: int
    table: LazyTable

    @property
    def slots(self) -> int:
        """The number of slots, the same in every topology."""
        return SLOTS

    @property
    def routable(self) -> tuple[Node, ...]:
        """The nodes that may own slots, in the order of their ids: routable, and of a weight above 0."""
        return self.table.eligible

    def route(self, key: Key, n: int = 1, zone: str | None = None) -> Route:
        """Return the owner of `key` and up to `n` - 1 nodes to fall back on.

        Fallbacks are in the order of their score for the slot, those in other zones than the owner's first, taking
        turns by zone. With `zone`, fallbacks there come before all others; who owns the slot stays the same.
        Raises `UsageError` if `n` is below 1.
        """
        table = self.table.worked_out or self.table.get()
        # As `slot_of`, written out, here and in `owner`: these are the calls that a gateway makes for every message.
        try:
            data = key.encode()  # type: ignore[union-attr]
        except (AttributeError, UnicodeEncodeError):
            data = key_bytes(key)
        slot = xxh3_64_intdigest(data) >> HASH_SHIFT
        position = table.positions[slot]
        if n == 1:
            return Route(table.choices[position], table.alone[position], slot, self.revision)
        if n < 1:
            raise UsageError(f"a route of {n} nodes can't be had: ask for 1 or more")
        return Route(table.choices[position], table.order(slot, n, zone), slot, self.revision)

    def owner(self, key: Key) -> Node | None:
        """Return the owner of `key`, None where no node may own slots: the same as `route(key).owner`, but faster."""
        table = self.table.worked_out or self.table.get()
        try:
            data = key.encode()  # type: ignore[union-attr]
        except (AttributeError, UnicodeEncodeError):
            data = key_bytes(key)
        return table.choices[table.positions[xxh3_64_intdigest(data) >> HASH_SHIFT]]

    def owners(self, keys: Sequence[Key]) -> list[Node | None]:
        """Return the owners of many keys, in their order; one call is cheaper than many of `owner`."""
        table = self.table.worked_out or self.table.get()
        return table.owners_of(slots_of(keys))

    def slot_of(self, key: Key) -> int:
        """Return the slot of `key`, from 0 to `slots` - 1."""
        return slot_of(key)

    def owner_of(self, slot: int) -> Node | None:
        """Return the owner of a slot, None where no node may own slots. Raises `UsageError` for a slot out of range."""
        if not 0 <= slot < SLOTS:
            raise UsageError(f"there is no slot {slot}: slots go from 0 to {SLOTS - 1}")
        table = self.table.get()
        return table.choices[table.positions[slot]]

    def shares(self) -> dict[str, Share]:
        """Return what each node that may own slots owns, and its fair share, in slots, by its id."""
        return self.table.get().shares()

    def moves_to(self, after: Router) -> Moves:
        """Return which slots have another owner in `after`."""
        before = self.table.get()
        return Moves.between(before, after.table.get(before))
