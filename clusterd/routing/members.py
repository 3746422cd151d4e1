"""The nodes that may own slots, as columns of numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from xxhash import xxh3_64_intdigest

from clusterd.node import Node, check_weight
from clusterd.routing.ranking import Ints, Ranking, Words

PHASE_SHIFT = 56  # a node's phase is the top byte of the hash of its id

# The most that a node may own over its fair share: 4.4 % and 0.005 % for each node of the fleet. Tighter balance
# costs movement, as full nodes hand slots on; the smaller the shares, the more nodes are full.
SLACK_UNIT = 20_000
SLACK_BASE = 880


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """The nodes with a claim to slots, in the order of their ids, a column each.

    `keys` are those of their permutations, `phases` (0 to 255) spread the roundings of their capacities.
    """

    ids: tuple[str, ...]
    weights: Ints
    keys: Words
    phases: Ints

    def __len__(self) -> int:
        return len(self.ids)

    def same_as(self, other: Members) -> bool:
        """Whether both hold the same ids with the same weights, so that every slot has the same owner."""
        return self.ids == other.ids and np.array_equal(self.weights, other.weights)


def eligible(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Return the nodes that may own slots, in the order of their ids: the routable ones with a weight.

    Raises `UsageError` where a weight is out of range.
    """
    found = [node for node in nodes if node.routable and check_weight(node.weight)]
    return tuple(sorted(found, key=lambda node: node.id))


def members_of(nodes: Iterable[Node], ranking: Ranking) -> Members:
    """Return the columns of these nodes, which are in the order of their ids."""
    pairs = [(node.id, node.weight) for node in nodes]
    hashes = np.array([xxh3_64_intdigest(node_id.encode()) for node_id, _ in pairs], np.uint64)
    return Members(
        ids=tuple(node_id for node_id, _ in pairs),
        weights=np.array([weight for _, weight in pairs], np.int64),
        keys=ranking.keys(hashes),
        phases=(hashes >> np.uint64(PHASE_SHIFT)).astype(np.int64),
    )


def capacities(members: Members, slots: int) -> Ints:
    """Return the most slots that each member may own.

    Its fair share with the slack on top, rounded down by a phase of the node's own (or else nodes of one weight would
    all shed a slot at the same join), and never below the fair share rounded up: together they hold all slots.
    """
    total = int(members.weights.sum())
    bound = 256 * slots * (SLACK_UNIT + SLACK_BASE + len(members))
    pairs = zip(members.weights.tolist(), members.phases.tolist(), strict=True)
    return np.array(
        [max(-(-slots * w // total), (bound * w // (SLACK_UNIT * total) - phase) >> 8) for w, phase in pairs],
        np.int64,
    )
