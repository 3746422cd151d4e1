"""What happened in a contended election, and whether it may happen: pure, so that known-bad histories can test it.

Three witnesses are held against each other: the candidates (when did each believe that it leads, what did it write
with which outcome), etcd (which key of the office, and which write, came and went at which revision), and whoever
killed or paused the candidates (from when on could one do nothing more).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

EXPIRED = "its lease could not be renewed in time"


@dataclass(frozen=True, slots=True)
class TermSpan:
    """One term by the candidate's own clock: from `begin` to `end`, in seconds of CLOCK_MONOTONIC."""

    candidate: str
    fence: int
    begin: float
    end: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """A fenced write as its writer saw it: `outcome` is landed, refused or unknown (no answer)."""

    text: str
    fence: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Tenure:
    """A candidate's key in etcd: the revision that made it, its fence, and the one that deleted it (or 0)."""

    fence: int
    deleted: int = 0
    resigned: bool = False


@dataclass(frozen=True, slots=True)
class Landed:
    """A write that is in etcd's history."""

    text: str
    fence: int
    revision: int


@dataclass(slots=True)
class History:
    """All that the three witnesses said."""

    terms: list[TermSpan] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    tenures: list[Tenure] = field(default_factory=list)
    landed: list[Landed] = field(default_factory=list)

    def problems(self) -> list[str]:
        """Return what must not happen and did; empty for a good history."""
        return [*self._overlaps(), *self._fences(), *self._fenced_writes(), *self._outcomes()]

    def margins(self) -> list[float]:
        """Return the seconds between each term's end and the next one's begin."""
        return [after.begin - before.end for before, after in pairwise(self._by_begin())]

    def expiry_margins(self) -> list[float]:
        """Return the margins after terms that the leader's clock ended, and whose office etcd passed on by expiry."""
        resigned = {tenure.fence for tenure in self.tenures if tenure.resigned}
        ends = zip(self._by_begin(), self.margins(), strict=False)
        return [margin for term, margin in ends if term.reason == EXPIRED and term.fence not in resigned]

    def _by_begin(self) -> Sequence[TermSpan]:
        return sorted(self.terms, key=lambda term: term.begin)

    def _overlaps(self) -> Iterator[str]:
        latest: TermSpan | None = None
        for term in self._by_begin():
            if latest and term.begin < latest.end:
                yield (
                    f"terms overlap by {latest.end - term.begin:.3f} s: {latest.candidate} (fence {latest.fence}, "
                    f"ended: {latest.reason}) and {term.candidate} (fence {term.fence})"
                )
            if latest is None or term.end > latest.end:
                latest = term

    def _fences(self) -> Iterator[str]:
        for before, after in pairwise(self._by_begin()):
            if after.fence <= before.fence:
                yield f"the fence fell from {before.fence} to {after.fence}"
        for before, after in pairwise(sorted(self.landed, key=lambda write: write.revision)):
            if after.fence < before.fence:
                yield f"at revision {after.revision} a write with fence {after.fence} followed one with {before.fence}"

    def _fenced_writes(self) -> Iterator[str]:
        """A write may land only while the writer's key is there, and none of those before it any more."""
        deleted = {tenure.fence: tenure.deleted for tenure in self.tenures}
        for write in self.landed:
            end = deleted.get(write.fence)
            if end is None:
                yield f"the write {write.text!r} has a fence that nobody ever had"
            elif write.revision < write.fence or (end and write.revision > end):
                yield f"the write {write.text!r} landed at revision {write.revision}, out of office"
            elif _any_ahead(self.tenures, write):
                yield f"the write {write.text!r} landed at revision {write.revision}, before its writer's turn"

    def _outcomes(self) -> Iterator[str]:
        present = Counter(write.text for write in self.landed)
        for write in self.writes:
            count = present[write.text]
            if write.outcome == "landed" and not count:
                yield f"the write {write.text!r} was confirmed, and is not there"
            if write.outcome == "refused" and count:
                yield f"the write {write.text!r} was refused, and is there"


def _any_ahead(tenures: Iterable[Tenure], write: Landed) -> bool:
    """Whether an older candidate's key was still there when a write landed."""
    return any(
        tenure.fence < write.fence and (not tenure.deleted or tenure.deleted > write.revision) for tenure in tenures
    )
