"""A drain as a part of a trace: a span for all of it, and one for each of its stages."""

from __future__ import annotations

import contextlib

from clusterd import tracing
from clusterd.drain.course import Course
from clusterd.drain.intent import Intent
from clusterd.status import Phase
from clusterd.tracing import Span


class DrainTrace:
    """The spans of one drain of one node, within the trace of whoever asked for it."""

    def __init__(self, intent: Intent, node: str) -> None:
        self._drain = tracing.begin(
            "clusterd.drain", intent.traceparent, node=node, intent=intent.id, by=intent.by, reason=intent.reason
        )
        self._stage = ""
        self._span: Span | None = None
        self._ended = False

    def follow(self, course: Course) -> None:
        """Take note of how far the drain is."""
        stage = stage_of(course)
        if self._ended or stage == self._stage:
            return
        self._end_stage()
        self._stage = stage
        if stage:
            self._span = self._drain.begin(f"clusterd.drain.{stage}", sessions=course.left)
        if course.phase in (Phase.DRAINED, Phase.ABORTED):
            self.end(course)

    def entered(self) -> contextlib.AbstractContextManager[object]:
        """Be in the present stage for the time of a body, which the gateway's own spans then belong to."""
        return (self._span or self._drain).entered()

    def end(self, course: Course) -> None:
        """End what is not ended: the drain is over, or was withdrawn."""
        if self._ended:
            return
        self._ended = True
        self._end_stage()
        self._drain.note(phase=course.phase.value, moved=course.moved, left=course.left, forced=course.forced)
        self._drain.end("given up at its deadline" if course.given_up else "")

    def _end_stage(self) -> None:
        if self._span is not None:
            self._span.end()
            self._span = None


def stage_of(course: Course) -> str:
    """Return which stage a drain is in; empty once it is over."""
    match course.phase:
        case Phase.CORDONED:
            return "permit" if course.wants_permit else "settle"
        case Phase.DRAINING:
            return "move"
    return ""
