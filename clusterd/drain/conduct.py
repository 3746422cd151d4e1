"""Carrying one drain out: shows its course what is the case, and does what follows from it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from datetime import UTC, datetime

from clusterd.aio import Backoff, beside
from clusterd.drain.course import Course, Sight, Terms
from clusterd.drain.drain import Drain
from clusterd.drain.evacuation import Evacuation
from clusterd.drain.intent import Intent, format_time, make_cordon, parse_time
from clusterd.drain.operator import IntentView, withdraw_intent
from clusterd.drain.permits import PermitKeeper
from clusterd.drain.site import Happening, Site
from clusterd.drain.trace import DrainTrace
from clusterd.errors import IntentConflict
from clusterd.etcd.errors import EtcdError
from clusterd.history import HistoryEntry
from clusterd.node import NodeState
from clusterd.status import DrainProgress, Phase

log = logging.getLogger(__name__)

_TICK = 0.1
_PAUSE_SECONDS = 1.0  # between two looks: more than that, and this process stood still
_SHUTDOWN_PATIENCE = 0.4  # seconds that a process which is about to end waits for etcd to know of it
_STATES = {Phase.DRAINING: NodeState.DRAINING, Phase.DRAINED: NodeState.DRAINED}


class Conduct:
    """One drain of this node, from its beginning until it is withdrawn.

    `permits` is None for a drain that isn't asked for by an intent: a process that ends asks nobody.
    """

    def __init__(self, site: Site, intent: Intent, permits: PermitKeeper | None) -> None:
        self.intent = intent
        self.since = format_time(datetime.now(UTC))
        self._site = site
        self._resumed = site.placed_state() is None  # the intent was there first: another instance may have told of it
        self._stepped = time.monotonic()
        self._permits = permits
        self.course = Course(self._terms(), time.monotonic())
        self.drain = Drain(intent, self.course.terms.deadline, lambda: site.sessions.count)
        self._told: set[str] = set()
        self._trace = DrainTrace(intent, site.node().id)
        self._evacuation = Evacuation(self.drain, site.handler, site.node().id, self._trace, site.strays)

    @property
    def state(self) -> NodeState:
        """The state that the node's record is to show."""
        return _STATES.get(self.course.phase, NodeState.CORDONED)

    def take_terms(self, intent: Intent) -> None:
        """Go on at the terms of the same intent as it is now."""
        self.intent = intent
        self.course.terms = self._terms()
        self.drain.take_terms(intent, self.course.terms.deadline)

    async def run(self) -> None:
        """Carry the drain out, until it was withdrawn or the caller cancels it."""
        try:
            async with beside(self._evacuation.run(), name=f"clusterd evacuation of {self._site.node().id}"):
                # What was withdrawn may wake once more before it is cancelled: the node's state isn't its affair then.
                while not (self.course.given_up or self.drain.cancelled.is_set()):
                    if not await self._look_up_after_a_pause():
                        self._step()
                        await asyncio.sleep(_TICK)
                self._evacuation.allow(False)
                self.drain.cancel()
                if self.course.given_up:
                    await self._withdraw()
        finally:
            self.drain.cancel()
            self._trace.end(self.course)

    def progress(self) -> DrainProgress:
        """Return how the drain goes, for those who ask."""
        course = self.course
        return DrainProgress(
            intent=self.intent.id if self._permits else "",
            phase=course.phase,
            at_start=course.at_start,
            left=course.left,
            moved=course.moved,
            rate=round(course.rate, 1),
            since=self.since,
            deadline=self.intent.deadline,
            blocked_by=course.blocked_by,
            waits_for_permit=bool(self._permits and course.wants_permit and not self._permits.granted),
            stalled=course.stalled,
            forced=course.forced,
            kept=course.kept,
            aborted=course.given_up,
        )

    async def _look_up_after_a_pause(self) -> bool:
        """Ask what is wanted by now, if this process stood still: the deadline may be long past, the intent long gone.

        Returns whether it did, and so may have been taken back. What etcd doesn't answer within a moment is left.
        """
        paused = time.monotonic() - self._stepped > _PAUSE_SECONDS and self._permits is not None
        if paused:
            self._evacuation.allow(self.course.may_move and self._permitted())
            with contextlib.suppress(EtcdError):
                await self._site.orders.look()
        self._stepped = time.monotonic()
        return paused

    def _permitted(self) -> bool:
        return self._permits is None or self._permits.granted

    def _step(self) -> None:
        course = self.course
        course.step(time.monotonic(), self._sight())
        self._see_to_permit()
        self._trace.follow(course)
        if course.forced and not self.drain.forced.is_set():
            self.drain.force()
        self._evacuation.allow(course.may_move)
        self.drain.progress = self.progress()
        self._site.place_state(self.state)
        self._tell()

    def _see_to_permit(self) -> None:
        """Want a permit, or give it back; once drained, not before the fleet was told: it must never see too many."""
        if self._permits is None:
            return
        if self.course.wants_permit:
            self._permits.want(self.intent)
        elif self.course.phase is not Phase.DRAINED or self._site.placed_state() is NodeState.DRAINED:
            self._permits.release()

    def _tell(self) -> None:
        """Put each fact about the drain into the history, once."""
        course = self.course
        facts = {
            "drained": course.phase is Phase.DRAINED,
            "forced": course.forced,
            "kept": course.kept,
            "aborted": course.given_up,
        }
        for what in [name for name, is_so in facts.items() if is_so and name not in self._told]:
            self._told.add(what)
            if self._permits is not None or course.at_start:
                self.tell(what)

    def tell(self, what: str) -> None:
        """Put into the history what became of the drain."""
        course, intent = self.course, self.intent
        log.info("drain by %s: %s, %d sessions moved, %s left", intent.by, what, course.moved, course.left)
        entry = HistoryEntry(
            at=format_time(datetime.now(UTC)),
            what=what,
            node=self._site.node().id,
            by=intent.by,
            reason=intent.reason,
            intent=intent.id if self._permits else "",
            details=f"{course.moved} sessions moved, {course.left if course.left is not None else '?'} left",
        )
        since = parse_time(intent.at, "at") if self._resumed and self._permits else None
        self._site.happened.append(Happening(entry, since))

    def _sight(self) -> Sight:
        placed = self._site.placed_state()
        return Sight(
            sessions=self.drain.sessions(),
            cordoned=placed is not None and placed is not NodeState.ACTIVE,
            leading=self._site.leading(),
            permitted=self._permitted(),
            permit_needs=self._permits.needs if self._permits else "",
            hindrance=self._evacuation.hindrance or next(iter(self._site.strays.values()), ""),
            handler=self._evacuation.activity,
            uncounted=self._site.sessions.trouble,
        )

    def _terms(self) -> Terms:
        deadline = self.intent.deadline_at
        left = math.inf if deadline is None else (deadline - datetime.now(UTC)).total_seconds()
        return Terms(
            settle=self.intent.settle,
            deadline=time.monotonic() + left,
            on_deadline=self.intent.on_deadline,
            patience=math.inf if self._permits else _SHUTDOWN_PATIENCE,
            stall_after=self._site.stall_after,
        )

    async def _withdraw(self) -> None:
        """Take the intent back, as its operator asked for at the deadline; the node is then what it was before.

        That and the news of it are one transaction: who waits never sees the intent gone without learning why.
        """
        orders, backoff = self._site.orders, Backoff(0.1, 3.0)
        cordon = None
        if self.intent.was is NodeState.CORDONED:
            cordon = make_cordon(by=self.intent.by, reason="was cordoned before", now=datetime.now(UTC))
        while orders.intent is not None and orders.intent.id == self.intent.id:
            view = IntentView(self._site.node().id, orders.intent, orders.revision, orders.key)
            try:
                if news := self._site.report():
                    await withdraw_intent(self._site.client, self._site.keyspace, view, cordon=cordon, also=news)
            except (IntentConflict, EtcdError) as error:
                log.warning("drain: given up, but its intent is not withdrawn yet: %s", error)
            await asyncio.sleep(backoff.next())
