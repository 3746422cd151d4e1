"""Which node owns each slot: the one stable matching of slots and nodes with capacities.

Each slot wants the node with the best score for it, each node wants the slots with its best scores, up to its
capacity. A matching is stable when no slot and node would both rather have one another. As both sides go by the same
scores there is exactly one such matching, whichever way it is reached: the owners depend on the members alone, never
on their history. That is what makes the shorter way after a change, `rematch`, as good as `match_anew`.

Both are Gale and Shapley's deferred acceptance (1962), kept as one cutoff per node (Azevedo and Leshno 2016): the
worst rank that it accepts. Stable means that

- each slot's owner is the best of the nodes that accept it;
- each node that turns slots away is full, and none is over its capacity.

`settle` and `admit` restore the first after a change. `fill` and `shed` keep it and restore the second: `fill` only
raises cutoffs and `shed` only lowers them, so both come to an end, and `shed` leaves no room behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clusterd.routing.hashing import Slots
from clusterd.routing.members import Members, capacities
from clusterd.routing.ranking import Ints, Ranking

_NEVER = np.iinfo(np.int64).max  # the score of a node that doesn't accept the slot
_CELLS = 1 << 18  # scores worked out at a time: as many as fit in a core's cache
_COVER = 6  # how often a slot is reached on average before the slots not yet reached are seen to one by one
_BLOCK = 64  # ranks that a node with room looks through at first
_TOO_DIFFERENT = 0.25  # the share of the weight whose change makes starting anew the shorter way


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """The owners of all slots, as positions among the members, and the worst rank that each member accepts.

    No owner's score is over `worst`.
    """

    members: Members
    owners: npt.NDArray[np.unsignedinteger]
    cutoffs: Ints
    worst: int


def match(members: Members, ranking: Ranking, base: Matching | None = None) -> Matching:
    """Return the owners of all slots (`members` isn't empty), by the shorter way where `base` is of similar members."""
    if base is None or _share_changed(base.members, members) > _TOO_DIFFERENT:
        return match_anew(members, ranking)
    return rematch(members, ranking, base)


def match_anew(members: Members, ranking: Ranking) -> Matching:
    """Return the owners of all slots, worked out from the members alone."""
    market = _Market(members, ranking)
    market.open()
    market.shed()
    return market.matching()


def rematch(members: Members, ranking: Ranking, base: Matching) -> Matching:
    """Return exactly what `match_anew` returns, by repairing what the change from the base's members has broken."""
    market = _Market(members, ranking)
    newcomers = market.inherit(base)
    market.settle(np.flatnonzero(market.owners == len(members)))
    market.admit(newcomers)
    market.fill()
    market.shed()
    return market.matching()


class _Market:
    """A matching in the making. Nobody, the owner of a slot that has none yet, is at position `len(members)`."""

    def __init__(self, members: Members, ranking: Ranking) -> None:
        self._members = members
        self._ranking = ranking
        self._capacities = capacities(members, ranking.slots)
        self._nobody = len(members)
        self._counts = np.zeros(len(members) + 1, np.int64)
        self._cutoffs = np.full(len(members), ranking.slots - 1, np.int64)
        self._worst = 0
        self.owners = np.full(ranking.slots, self._nobody, np.int64)

    def matching(self) -> Matching:
        compact = np.min_scalar_type(len(self._members))
        return Matching(self._members, self.owners.astype(compact), self._cutoffs, self._worst)

    def open(self) -> None:
        """Give each slot to the best node of all, whatever the capacities."""
        best = np.full(self._ranking.slots, _NEVER, np.int64)
        within = self._ranking.covering_score(_COVER, int(self._members.weights.sum()))
        for node in range(len(self._members)):
            self._contest(node, best, within)
        self._worst = within
        self._recount()
        self.settle(np.flatnonzero(self.owners == self._nobody))

    def inherit(self, base: Matching) -> Ints:
        """Take over what a matching says of the members that stayed; return the positions of those that are new."""
        positions = _positions(base.members, self._members)
        self.owners = positions[base.owners]
        self._recount()
        stayed = positions < self._nobody
        self._cutoffs[positions[stayed]] = base.cutoffs[stayed]
        self._worst = base.worst
        return np.setdiff1d(np.arange(self._nobody), positions)

    def settle(self, slots: Slots) -> None:
        """Give each of these slots to the best node that accepts it."""
        rows = max(1, _CELLS // len(self._members))
        for start in range(0, len(slots), rows):
            chunk = slots[start : start + rows]
            self._assign(chunk, self._best(chunk))

    def admit(self, newcomers: Ints) -> None:
        """Give each newcomer the slots that it is better for than their owners, whatever its capacity."""
        if not len(newcomers):
            return
        best = self._scores(np.arange(self._ranking.slots), self.owners)
        for node in newcomers.tolist():
            self._contest(node, best, int(best.max()))
        self._worst = int(best.max())
        self._recount()

    def fill(self) -> None:
        """Let nodes with room accept more, until each is full or turns nothing away."""
        depth = _BLOCK
        while len(nodes := self._with_room()):
            self._take(*self._wanted(nodes, min(depth, max(_BLOCK, _CELLS // len(nodes)))))
            depth *= 2

    def shed(self) -> None:
        """Let nodes over their capacity turn their worst slots away, to the next best, until none is over."""
        while (self._counts[:-1] > self._capacities).any():
            self.settle(self._excess())

    def _contest(self, node: int, best: Ints, within: int) -> None:
        """Give `node` the slots for which it beats `best`, the owners' scores, of those it scores up to `within`."""
        column, weight = self._members.keys[:, node], self._members.weights[node]
        ranks = np.arange(self._ranking.ranks_within(within, int(weight)))
        slots = self._ranking.slots_at(ranks, column)
        scores = self._ranking.scores(ranks, weight)
        won = _beats(scores, node, best[slots], self.owners[slots])
        best[slots[won]] = scores[won]
        self.owners[slots[won]] = node

    def _best(self, slots: Slots) -> Ints:
        """Return the best node that accepts each of these slots; of two with one score, the first by id."""
        ranks = self._ranking.ranks(slots[:, None], self._members.keys[:, None, :])
        scores = self._ranking.scores(ranks, self._members.weights)
        scores[ranks > self._cutoffs] = _NEVER
        self._worst = max(self._worst, int(scores.min(axis=1).max()))
        best: Ints = scores.argmin(axis=1)
        return best

    def _with_room(self) -> Ints:
        """Return the nodes that turn slots away though they aren't full; those that nobody else wants accept all."""
        last = self._ranking.slots - 1
        nodes = np.flatnonzero((self._counts[:-1] < self._capacities) & (self._cutoffs < last))
        nearest = self._ranking.scores(self._cutoffs[nodes] + 1, self._members.weights[nodes])
        self._cutoffs[nodes[nearest > self._worst]] = last
        return nodes[nearest <= self._worst]

    def _wanted(self, nodes: Ints, depth: int) -> tuple[Slots, Ints]:
        """Return slots that would rather have one of these nodes, and which one: as many as each has room for.

        Each looks at its next `depth` ranks, and its cutoff moves on to the last one that it may accept.
        """
        ranks = self._cutoffs[nodes][:, None] + np.arange(1, depth + 1)
        # Past the last rank it starts over, where nothing is wanted any more.
        slots = self._ranking.slots_at(ranks % self._ranking.slots, self._members.keys[:, nodes, None])
        takers = np.broadcast_to(nodes[:, None], slots.shape)
        owners = self.owners[slots]
        wanted = _beats(self._scores(slots, takers), takers, self._scores(slots, owners), owners)
        room = (self._capacities - self._counts[:-1])[nodes]
        within = np.cumsum(wanted, axis=1) <= room[:, None]
        self._cutoffs[nodes] = np.minimum(self._cutoffs[nodes] + within.sum(axis=1), self._ranking.slots - 1)
        wanted &= within
        return slots[wanted].astype(np.int64), takers[wanted]

    def _take(self, slots: Slots, takers: Ints) -> None:
        """Give each slot to its taker, the best one where there are several."""
        order = np.lexsort((takers, self._scores(slots, takers), slots))
        slots, first = np.unique(slots[order], return_index=True)
        self._assign(slots, takers[order][first])

    def _excess(self) -> Slots:
        """Lower the cutoffs of the nodes over their capacity to what they can hold; return the slots turned away."""
        over = np.append(self._counts[:-1] > self._capacities, False)
        slots = np.flatnonzero(over[self.owners])
        nodes = self.owners[slots]
        ranks = self._ranking.ranks(slots, self._members.keys[:, nodes])
        order = np.lexsort((ranks, nodes))
        slots, nodes, ranks = slots[order], nodes[order], ranks[order]
        places = np.arange(len(nodes)) - np.searchsorted(nodes, nodes)
        last = places == self._capacities[nodes] - 1
        self._cutoffs[nodes[last]] = ranks[last]
        return slots[places >= self._capacities[nodes]]

    def _scores(self, slots: npt.NDArray[np.integer], nodes: Ints) -> Ints:
        """Return the score of each node for the slot at the same place."""
        ranks = self._ranking.ranks(slots, self._members.keys[:, nodes])
        return self._ranking.scores(ranks, self._members.weights[nodes])

    def _assign(self, slots: Slots, nodes: Ints) -> None:
        self._counts -= np.bincount(self.owners[slots], minlength=self._nobody + 1)
        self._counts += np.bincount(nodes, minlength=self._nobody + 1)
        self.owners[slots] = nodes

    def _recount(self) -> None:
        self._counts = np.bincount(self.owners, minlength=self._nobody + 1)


def _beats(scores: Ints, nodes: Ints | int, rival_scores: Ints, rivals: Ints) -> npt.NDArray[np.bool_]:
    """Return where these nodes are better than their rivals; of two with one score, the first by id is."""
    better: npt.NDArray[np.bool_] = (scores < rival_scores) | ((scores == rival_scores) & (nodes < rivals))
    return better


def _positions(before: Members, after: Members) -> Ints:
    """Return where each member from before is after; `len(after)` if it left or has another weight."""
    found = {pair: at for at, pair in enumerate(zip(after.ids, after.weights.tolist(), strict=True))}
    pairs = zip(before.ids, before.weights.tolist(), strict=True)
    return np.array([found.get(pair, len(after)) for pair in pairs], np.int64)


def _share_changed(before: Members, after: Members) -> float:
    """Return the share of the weight, before or after, of the nodes that came, left or changed weight."""
    positions = _positions(before, after)
    stayed = int(after.weights[positions[positions < len(after)]].sum())
    return 1 - stayed / max(int(before.weights.sum()), int(after.weights.sum()))
