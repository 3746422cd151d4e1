"""What became of each drain that is waited for. Pure but for the clock that deadlines are told by."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta

from clusterctl.drain.looks import Look
from clusterd.drain import Intent, OnDeadline
from clusterd.status import DrainProgress, Phase

RETURN_SECONDS = 15.0
"""How long a node that is gone has to return, before it counts as dead: a restart is no death."""

_SLOWEST = 1e-6  # sessions a second: below, an average says that nothing moves
_CLOCKS_DIFFER = timedelta(seconds=2)


class Outcome(enum.StrEnum):
    """How a drain ended."""

    DRAINED = "drained"
    FORCED = "forced"
    KEPT = "kept"
    ABORTED = "aborted"
    WITHDRAWN = "withdrawn"
    DIED = "died"

    @property
    def exit_code(self) -> int:
        """What the command exits with for it."""
        return _EXIT_CODES.get(self, 8)


_EXIT_CODES = {Outcome.DRAINED: 0, Outcome.FORCED: 6, Outcome.KEPT: 6}


class Tracker:
    """Follows one drain of one node until it has an outcome."""

    def __init__(self, node: str, intent: Intent) -> None:
        self.node = node
        self.intent = intent
        self.progress: DrainProgress | None = None
        self.outcome: Outcome | None = None
        self.absent = False
        self._seen = False
        self._absent_since = 0.0

    def note(self, look: Look, now: float) -> None:
        """Take note of a look at the node, at a monotonic time."""
        if self.outcome is not None:
            return
        self._note_presence(look, now)
        if look.progress is not None and look.progress.intent == self.intent.id:
            self.progress = look.progress
        ours = look.intent is not None and look.intent.id == self.intent.id
        if look.intent is not None and ours:
            self.intent = look.intent
        self.outcome = self._ended() or (None if ours else self._taken_back()) or self._died(now)

    @property
    def blocked_by(self) -> str:
        """What is in the way, empty for nothing."""
        if self.absent:
            return "the node is gone" if self._seen else "the node is not there: it is drained when it returns"
        return self.progress.blocked_by if self.progress else ""

    @property
    def seconds_left(self) -> float | None:
        """How long it still takes at the present pace, or at the one asked for; None where that can't be told."""
        if self.progress is None or self.progress.left is None:
            return None
        rate = self.progress.rate or self.intent.rate or 0.0
        return self.progress.left / rate if rate >= _SLOWEST else None

    def _note_presence(self, look: Look, now: float) -> None:
        absent = look.node is None
        if absent and not self.absent:
            self._absent_since = now
        self.absent = absent
        self._seen = self._seen or not absent

    def _ended(self) -> Outcome | None:
        progress = self.progress
        if progress is None or self.absent:
            return None
        if progress.aborted:
            return Outcome.ABORTED
        if progress.phase is Phase.DRAINED:
            return Outcome.FORCED if progress.forced else Outcome.DRAINED
        return Outcome.KEPT if progress.kept else None

    def _taken_back(self) -> Outcome:
        """Tell whether the intent was withdrawn by its node, at the deadline, or by an operator."""
        at = self.intent.deadline_at
        due = at is not None and datetime.now(UTC) >= at - _CLOCKS_DIFFER
        return Outcome.ABORTED if due and self.intent.on_deadline is OnDeadline.ABORT else Outcome.WITHDRAWN

    def _died(self, now: float) -> Outcome | None:
        gone = self.absent and self._seen and now >= self._absent_since + RETURN_SECONDS
        return Outcome.DIED if gone else None


def exit_code(trackers: list[Tracker]) -> int:
    """Return what a command exits with that waited for all of these: the worst of them."""
    return max((tracker.outcome.exit_code for tracker in trackers if tracker.outcome), default=0)
