"""Which elections this process leads, and how often it came to that."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from clusterd.election.term import Term

_MOST_NAMES = 100
OTHERS = "_others"
"""What terms are counted under once many names are known; no election can be called so."""


class Tally:
    """Counts terms by the name of their election, for so many names; `held` are those not over yet."""

    def __init__(self) -> None:
        self.terms: Counter[str] = Counter()
        self._held: list[Term] = []

    @property
    def held(self) -> dict[str, Term]:
        """The terms that are held at this moment, by name."""
        return {term.name: term for term in self._held if not term.lost.is_set()}

    @contextlib.contextmanager
    def holding(self, term: Term) -> Iterator[None]:
        """Count a term that begins, and hold it for the time of the body."""
        known = term.name in self.terms or len(self.terms) < _MOST_NAMES
        self.terms[term.name if known else OTHERS] += 1
        self._held.append(term)
        try:
            yield
        finally:
            self._held.remove(term)
