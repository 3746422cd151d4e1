"""The course of one drain: a state machine, without I/O and without a clock.

It is shown what is the case, again and again, and says how far the drain is. What it never does: let sessions move
before the node is known to be out of the slots, or without a permit; call a node drained while a session is left.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from clusterd.drain.intent import OnDeadline
from clusterd.status import Phase

_RATE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What was asked for; `deadline` is in monotonic seconds, the others are spans in seconds.

    `patience` bounds the wait for the node to be known out of the slots, and for its terms of office to be given up:
    a process that is about to end can't wait for an etcd that is away.
    """

    settle: float = 10.0
    deadline: float = math.inf
    on_deadline: OnDeadline = OnDeadline.KEEP
    patience: float = math.inf
    stall_after: float = 30.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What is the case at one moment.

    `sessions` is None where nobody counts them. `cordoned`: etcd has the node out of the slots. `leading`: terms of
    office are still being given up. `permitted`: the cohort is out of the slots too and this node may begin; if not,
    `permit_needs` says what that waits for. `hindrance` is what keeps the gateway from moving sessions, if anything is
    known to; `handler` what the gateway does, for when nothing moves; `uncounted` why nobody counts the sessions.
    """

    sessions: int | None
    cordoned: bool = True
    leading: bool = False
    permitted: bool = True
    permit_needs: str = ""
    hindrance: str = ""
    handler: str = ""
    uncounted: str = ""


class Course:
    """How far one drain is. All times are monotonic seconds."""

    def __init__(self, terms: Terms, now: float) -> None:
        self.terms = terms
        self.phase = Phase.CORDONED
        self.forced = False
        self.kept = False
        self.at_start: int | None = None
        self.moved = 0
        self.blocked_by = ""
        self.stalled = False
        self._started = self._now = now
        self._cordoned_since = math.inf
        self._zero_since = math.inf
        self._progressed = now
        self._drained_before = False
        self._sight = Sight(None)
        self._last_count: int | None = None
        self._samples: deque[tuple[float, int]] = deque([(now, 0)])

    @property
    def left(self) -> int | None:
        """How many sessions there were at the last look; None where nobody counts."""
        return self._sight.sessions

    @property
    def wants_permit(self) -> bool:
        """Whether a permit is needed now, or will be as soon as it is granted."""
        waiting = self.phase is Phase.CORDONED and self._settled_at <= self._now and not self._sight.leading
        return not self.kept and (waiting or self.phase is Phase.DRAINING)

    @property
    def may_move(self) -> bool:
        """Whether sessions may be moved at this moment."""
        return self.phase is Phase.DRAINING and self._sight.permitted and not self.kept

    @property
    def given_up(self) -> bool:
        """Whether the drain was given up at its deadline."""
        return self.phase is Phase.ABORTED

    @property
    def rate(self) -> float:
        """Sessions gone a second, over the last five seconds."""
        (began, before), (now, moved) = self._samples[0], self._samples[-1]
        return (moved - before) / (now - began) if now > began else 0.0

    def step(self, now: float, sight: Sight) -> None:
        """Take note of what is the case now."""
        self._now, self._sight = now, sight
        self._count(now, sight.sessions)
        if sight.cordoned or now >= self._started + self.terms.patience:
            self._cordoned_since = min(self._cordoned_since, now)
        if not self.given_up:
            self._meet_deadline(now)
            self._proceed(now)
        self._explain(now)

    def _count(self, now: float, sessions: int | None) -> None:
        before, self._last_count = self._last_count, sessions if sessions is not None else self._last_count
        if sessions is not None and self.at_start is None:
            self.at_start = sessions
        if sessions is not None and before is not None and sessions < before:
            self.moved += before - sessions
            self._progressed = now
        self._zero_since = min(self._zero_since, now) if sessions == 0 else math.inf
        self._samples.append((now, self.moved))
        while self._samples[1][0] < now - _RATE_SECONDS:
            self._samples.popleft()

    @property
    def _settled_at(self) -> float:
        """When the settle time after leaving the slots is over; a forced end doesn't wait for it."""
        return self._cordoned_since + (0.0 if self.forced else self.terms.settle)

    @property
    def _acts_at(self) -> float:
        """When the deadline acts: one that had passed before an agent's restart lets sessions be counted first."""
        past = self.terms.deadline <= self._started
        return self._started + self.terms.settle if past else self.terms.deadline

    def _meet_deadline(self, now: float) -> None:
        late = now >= self._acts_at and not self._drained_before
        missed = late and self._sight.sessions != 0
        self.kept = self.terms.on_deadline is OnDeadline.KEEP and (missed or (self.kept and now >= self._acts_at))
        self.forced = self.forced or (missed and self.terms.on_deadline is OnDeadline.FORCE)
        if missed and self.terms.on_deadline is OnDeadline.ABORT:
            self._enter(Phase.ABORTED, now)

    def _proceed(self, now: float) -> None:
        if self.phase is Phase.DRAINED and self._sight.sessions != 0:
            self._enter(Phase.CORDONED, now)
        if self.phase is Phase.CORDONED and self._may_begin(now):
            self._enter(Phase.DRAINING, now)
        if self._emptied(now) and (self.phase is Phase.DRAINING or (self.kept and self.phase is Phase.CORDONED)):
            self._drained_before = True
            self._enter(Phase.DRAINED, now)

    def _may_begin(self, now: float) -> bool:
        resigned = not self._sight.leading or now >= self._settled_at + self.terms.patience
        return now >= self._settled_at and resigned and self._sight.permitted and not self.kept

    def _emptied(self, now: float) -> bool:
        return now >= self._zero_since + self.terms.settle

    def _enter(self, phase: Phase, now: float) -> None:
        self.phase, self._progressed = phase, now
        if phase is Phase.DRAINING:  # the rate is that of the moving, not of the wait before
            self._samples = deque([(now, self.moved)])

    def _explain(self, now: float) -> None:
        busy = self.phase in (Phase.CORDONED, Phase.DRAINING) and self._sight.sessions != 0 and not self.kept
        settled = self._started if math.isinf(self._settled_at) else self._settled_at
        idle = now - max(self._progressed, settled)
        self.stalled = busy and idle >= self.terms.stall_after
        self.blocked_by = self._hindrance() if busy else ""

    def _hindrance(self) -> str:
        sight = self._sight
        if math.isinf(self._cordoned_since):
            return "etcd does not confirm that the node has left the slots"
        if self.phase is Phase.CORDONED and self._now < self._settled_at:
            return ""
        if sight.leading and self.phase is Phase.CORDONED:
            return "terms of office that are still being given up"
        if not sight.permitted:
            return sight.permit_needs
        if sight.sessions is None:
            return "sessions are not counted" + (f": {sight.uncounted}" if sight.uncounted else "")
        return sight.hindrance or (sight.handler if self.stalled else "")
