"""Which endpoint to try next: pure bookkeeping, no I/O."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

FailureListener = Callable[[str], None]


class EndpointPool:
    """Keeps to one endpoint while it answers, and moves to another when it fails.

    The first choice is random, so that a fleet spreads over etcd's members; afterwards calls stay where they work: a
    simple auth token is renewed only on the member that sees it, and connections stay warm. `failures` counts them by
    endpoint.
    """

    def __init__(self, endpoints: Sequence[str], rng: random.Random | None = None) -> None:
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._order = list(endpoints)
        self._rng.shuffle(self._order)
        self.failures = Counter(dict.fromkeys(endpoints, 0))
        self._listeners: list[FailureListener] = []

    def __len__(self) -> int:
        return len(self._order)

    def candidates(self) -> tuple[str, ...]:
        """Return all endpoints in the order in which a call should try them."""
        return tuple(self._order)

    def failed(self, endpoint: str) -> None:
        """Note that `endpoint` did not answer: it goes to the end, and the listeners hear of it."""
        self._order.remove(endpoint)
        self._order.append(endpoint)
        self.failures[endpoint] += 1
        for listener in tuple(self._listeners):
            listener(endpoint)

    def on_failure(self, listener: FailureListener) -> Callable[[], None]:
        """Call `listener(endpoint)` at each failure; returns what takes it off again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
