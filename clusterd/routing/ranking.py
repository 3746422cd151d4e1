"""How much a node and a slot like each other: a keyed permutation and a weight, in whole numbers only.

Every node ranks all slots by a permutation of its own, and its score for a slot is the waiting time to that rank
at a pace set by its weight. The lowest score is the best one, for the slot and for the node alike.

It is weighted rendezvous hashing (Thaler and Ravishankar 1998; the weights as in Schindelhauer and Schomaker 2005)
with two substitutions. A permutation in the place of a hash can be walked from its first rank, so that an owner is
found without scoring every node for every slot, and it halves the variance of the shares. The waiting time
-ln(1 - r/slots), whose floating-point value differs between C libraries, becomes the harmonic sum that it is the
limit of (the coupon collector's), which integers give exactly.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from clusterd.routing.hashing import SLOT_BITS

Ints: TypeAlias = npt.NDArray[np.int64]
Words: TypeAlias = npt.NDArray[np.uint32]

MULTIPLIERS = (162011, 112755, 182757)  # odd; one per round of the permutation
WAIT_BITS = 36  # the fraction bits of a waiting time
WEIGHT_BITS = 20  # the bits of a weight: MAX_WEIGHT is below 1 << WEIGHT_BITS


class Ranking:
    """The ranks and scores over `1 << bits` slots (`bits` is at most `SLOT_BITS`)."""

    def __init__(self, bits: int = SLOT_BITS) -> None:
        self.bits = bits
        self.slots = 1 << bits
        self._mask = np.uint32(self.slots - 1)
        # Half of the bits or more, rounded up: such a shift-and-xor is its own inverse.
        self._shift = np.uint32((bits + 1) // 2)
        self._multipliers = tuple(np.uint32(m % self.slots) for m in MULTIPLIERS)
        self._inverses = tuple(np.uint32(pow(m, -1, self.slots)) for m in MULTIPLIERS)
        self._waits = _waits(self.slots) << WEIGHT_BITS

    def keys(self, hashes: npt.NDArray[np.uint64]) -> Words:
        """Return the permutation keys of nodes whose ids hash to `hashes`: one row per round, one column per node."""
        shifts = np.arange(len(MULTIPLIERS), dtype=np.uint64) * np.uint64(SLOT_BITS)
        return (hashes >> shifts[:, None]).astype(np.uint32) & self._mask

    def ranks(self, slots: npt.NDArray[np.integer], keys: Words) -> Words:
        """Return the rank (0 is the first) that the nodes with these keys give to these slots."""
        word = slots.astype(np.uint32)
        for key, multiplier in zip(keys, self._multipliers, strict=True):
            word = word ^ key
            word *= multiplier
            word &= self._mask
            word ^= word >> self._shift
        return word

    def slots_at(self, ranks: npt.NDArray[np.integer], keys: Words) -> Words:
        """Return the slots that the nodes with these keys have at these ranks: the inverse of `ranks`."""
        word = ranks.astype(np.uint32)
        for key, inverse in zip(keys[::-1], self._inverses[::-1], strict=True):
            word ^= word >> self._shift
            word *= inverse
            word &= self._mask
            word = word ^ key
        return word

    def scores(self, ranks: npt.NDArray[np.integer], weights: Ints) -> Ints:
        """Return the scores of nodes of these weights (1 or more) for slots at these ranks; the lowest is the best."""
        scores: Ints = self._waits[ranks] // weights
        return scores

    def ranks_within(self, score: int, weight: int) -> int:
        """Return how many ranks of a node of this weight have at most this score."""
        below = min((score + 1) * weight, int(self._waits[-1]) + 1)
        return int(np.searchsorted(self._waits, below))

    def covering_score(self, times: int, total_weight: int) -> int:
        """Return the score within which nodes of this total weight reach each slot `times` times on average."""
        return (times << (WAIT_BITS + WEIGHT_BITS)) // total_weight


@cache
def ranking() -> Ranking:
    """Return the ranking over the `SLOTS` of a topology, which every topology of the process shares."""
    return Ranking()


def _waits(slots: int) -> Ints:
    """Return the waiting time to each rank: the sum of 1/slots, 1/(slots-1), ... before it, and half of its own.

    In units of 1 / 2**WAIT_BITS, each term rounded down.
    """
    terms = (1 << WAIT_BITS) // np.arange(slots, 0, -1, dtype=np.int64)
    return np.cumsum(terms) - terms // 2
