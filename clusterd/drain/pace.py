"""The pace at which sessions move: smooth, jittered, and as asked on average. Pure: times are arguments."""

from __future__ import annotations

import random
from collections.abc import Callable

_TICK = 0.02
_CATCH_UP = 0.25
_SPREAD = 0.8


class Pacer:
    """Says how many sessions may move, and when to ask again.

    Sessions go in small batches (one, or what is due in 20 ms) at times that are drawn at random around an even grid:
    the rate is the asked one, and the clients of a fleet don't return in step. Whoever asks late gets what was due
    meanwhile, but never more than a quarter of a second's worth: a process that was paused doesn't make up for it.

    `rate` is in sessions a second, times are monotonic seconds; `draw` returns numbers from 0 to below 1.
    """

    def __init__(self, rate: float, now: float, draw: Callable[[], float] = random.random) -> None:
        self.rate = rate
        self._batch = max(1, round(rate * _TICK))
        self._interval = self._batch / rate
        self._draw = draw
        self._grid = now
        self.due = now
        self._advance(0.0)

    def take(self, now: float) -> int:
        """Return how many sessions may move at this moment; at `due` the next ones may."""
        if now < self.due:
            return 0
        late = now - max(_CATCH_UP, self._interval)
        if self._grid < late:
            self._grid = self.due = late
        taken = 0
        while self.due <= now:
            taken += self._batch
            self._advance(self._interval)
        return taken

    def _advance(self, step: float) -> None:
        self._grid += step
        self.due = self._grid + self._interval * _SPREAD * self._draw()
