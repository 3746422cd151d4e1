"""How the slots are spread over the nodes, and what would move if some of them left. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from clusterd.node import Node
from clusterd.routing import Share
from clusterd.topology import Change, Topology


@dataclass(frozen=True, slots=True)
class Holding:
    """A node with the slots that it owns, and how many its weight entitles it to: 0 of both where it may own none."""

    node: Node
    slots: int
    fair: float

    @property
    def ratio(self) -> float | None:
        """What it owns over its fair share; None where it may own none."""
        return self.slots / self.fair if self.fair else None


@dataclass(frozen=True, slots=True)
class Departure:
    """What would happen if these nodes left: how many slots would move, and how many of them inevitably.

    `gains` and `losses` count the slots that would come to a node and go from it, by its id. `imbalance` is that of
    the nodes that remain, None where none of them may own slots.
    """

    ids: tuple[str, ...]
    moved: int
    minimum: int
    imbalance: float | None
    gains: Mapping[str, int]
    losses: Mapping[str, int]

    @classmethod
    def of(cls, topology: Topology, ids: Collection[str]) -> Departure:
        """Return what would happen if the nodes of these ids left."""
        after = topology.evolve((), ids, topology.revision, cluster_id=topology.cluster_id)
        moved = Change.between(topology, after).moved
        losses = Counter(move.before.id for move in moved if move.before)
        gains = Counter(move.after.id for move in moved if move.after)
        minimum = sum(losses[node_id] for node_id in set(ids))
        return cls(tuple(dict.fromkeys(ids)), len(moved), minimum, imbalance(after), gains, losses)


@dataclass(frozen=True, slots=True)
class Balance:
    """Who owns how many slots at an etcd revision, in the order of the ids; `total` is the number of slots."""

    revision: int
    total: int
    holdings: tuple[Holding, ...]
    imbalance: float | None
    departure: Departure | None = None

    @classmethod
    def of(cls, topology: Topology, without: Collection[str] = ()) -> Balance:
        """Return the balance of a topology, and what would happen if the nodes `without` left."""
        shares = topology.shares()
        nobody = Share(0, 0.0)
        found = ((node, shares.get(node.id, nobody)) for node in topology)
        holdings = tuple(Holding(node, share.slots, share.fair) for node, share in found)
        departure = Departure.of(topology, without) if without else None
        return cls(topology.revision, topology.slots, holdings, imbalance(topology), departure)


def imbalance(topology: Topology) -> float | None:
    """Return the largest share over its fair share; None where no node may own slots."""
    return max((share.slots / share.fair for share in topology.shares().values()), default=None)
