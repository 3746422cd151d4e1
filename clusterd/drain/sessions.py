"""How many sessions live on this node: by its own count."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Self

from clusterd.errors import UsageError

log = logging.getLogger(__name__)


class Sessions:
    """Counts the sessions of this node, in the way that suits the gateway; a drain is over when there are none.

    Either `enter()` and `leave()` at the beginning and the end of each, or `with agent.sessions:` around it; or
    `count_with(callable)`, for a gateway that counts by itself; or `agent.report(sessions=...)` from time to time.
    `trouble` says why nobody counts, if that is known.
    """

    def __init__(self) -> None:
        self._count: int | None = None
        self._counter: Callable[[], int] | None = None
        self._failed = False
        self.trouble = ""

    @property
    def count(self) -> int | None:
        """How many there are; None while nobody has counted, or the counting callable fails."""
        return self._count if self._counter is None else self._ask(self._counter)

    def enter(self) -> None:
        """Count one in."""
        self._count = (self._count or 0) + 1

    def leave(self) -> None:
        """Count one out. Raises `UsageError` where none is counted in."""
        if not self._count:
            raise UsageError("a session left that had not entered: call leave() once for each enter()")
        self._count -= 1

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def set(self, count: int) -> None:
        """Take a count over. Raises `UsageError` for what is none."""
        if not (isinstance(count, int) and count >= 0):
            raise UsageError(f"sessions {count!r} can't be a count: give a whole number, 0 or more")
        self._count, self._counter = count, None

    def forget(self, trouble: str = "") -> None:
        """Take back what was counted: nobody knows the number now; `trouble` says why."""
        self._count = self._counter = None
        self.trouble = trouble

    def count_with(self, counter: Callable[[], int]) -> None:
        """Ask `counter` for the number from now on; it is called often, and must not block."""
        self._counter = counter

    def _ask(self, counter: Callable[[], int]) -> int | None:
        try:
            count = int(counter())
        except Exception:
            if not self._failed:
                log.exception("sessions: the counting callable fails: they count as not counted")
            self._failed = True
            return None
        self._failed = False
        return max(0, count)
