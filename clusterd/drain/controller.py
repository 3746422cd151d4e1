"""The agent's side of cordons and drains: what the intent in force, or the end of the process, asks of the node."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

import msgspec

from clusterd.aio import Signal, beside, run_together
from clusterd.drain.conduct import Conduct
from clusterd.drain.intent import Intent, OnDeadline, make_drain
from clusterd.drain.permits import PermitKeeper
from clusterd.drain.publishing import Publisher
from clusterd.drain.site import Site
from clusterd.errors import Conflict
from clusterd.node import NodeState
from clusterd.status import DrainProgress, Phase

log = logging.getLogger(__name__)

_LEAVE_SECONDS = 1.0


class DrainController:
    """Keeps the node's state what the intent says, and carries drains out, for as long as the agent runs.

    `chosen` is the state that the gateway wants; an intent goes before it.
    """

    def __init__(self, site: Site) -> None:
        self.chosen = site.node().state
        self._site = site
        self._permits = PermitKeeper(site)
        self._publisher = Publisher(site, self.progress)
        site.report = self._publisher.as_operation
        self._conduct: Conduct | None = None
        self._last: DrainProgress | None = None
        self._ending = False
        self._final = False
        self._changed = Signal()
        site.orders.on_change = self._follow

    @property
    def state(self) -> NodeState:
        """The state that the node's record is to show: no intent lets it into the slots, whoever wants it there."""
        if self._conduct is not None:
            return self._conduct.state
        return NodeState.CORDONED if self._site.orders.intent else self.chosen

    def progress(self) -> DrainProgress | None:
        """Return how the drain goes, or how the last one ended if it was given up."""
        return self._conduct.progress() if self._conduct else self._last

    def choose(self, state: NodeState) -> NodeState:
        """Note the state that the gateway wants, and return the one that it is to have."""
        self.chosen = state
        return self.state

    async def run(self) -> None:
        """Carry out what is asked for, for ever."""
        await run_together(
            **{
                "clusterd intent": self._site.orders.run(),
                "clusterd drains": self._carry_out_for_ever(),
                "clusterd permit": self._permits.run(),
                "clusterd status": self._publisher.run(),
            }
        )

    async def close(self) -> None:
        """Say what there is to say at the end, if etcd answers within a moment."""
        await self._publisher.close()

    async def publish(self) -> None:
        """Publish the node's figures now. Raises `EtcdError`."""
        await self._publisher.publish()

    def begin_shutdown(
        self, *, deadline: float, rate: float | None, over: float | None, settle: float, reason: str
    ) -> DrainProgress:
        """Begin to drain for the end of the process, or go on at these terms; `deadline` is in seconds from now.

        It goes before any intent, until it is taken back. Raises `UsageError`.
        """
        intent = make_drain(
            by=self._site.node().id,
            now=datetime.now(UTC),
            reason=reason,
            deadline=deadline,
            on_deadline=OnDeadline.FORCE,
            rate=rate,
            over=over,
            settle=settle,
        )
        conduct = self._conduct if self._ending else None
        if conduct is None:
            conduct = Conduct(self._site, intent, None)
            self._ending = True
            self._become(conduct)
        else:
            conduct.take_terms(msgspec.structs.replace(intent, id=conduct.intent.id))
        return conduct.progress()

    def cancel_shutdown(self) -> bool:
        """Take a drain for the end of the process back, and return whether there was one: intents count again.

        Raises `Conflict` once the process is ending.
        """
        if self._final:
            raise Conflict("the process is ending: its drain can't be taken back any more")
        conduct, was_ending, self._ending = self._conduct, self._ending, False
        if was_ending and conduct is not None:
            if conduct.course.at_start:
                conduct.tell("undrained")
            self._become(None)
            self._follow()
        return was_ending

    async def shut_down(
        self, *, deadline: float, rate: float | None, over: float | None, settle: float, reason: str
    ) -> DrainProgress:
        """Drain for the end of the process, in `deadline` seconds at the most, and return how that went.

        Then what is left is forced, and a moment given to that. Where there is no session, and no handler of a gateway
        that could have some, nothing is done: the fleet need not hear of it twice. Raises `UsageError`.
        """
        self._final = True
        if self._site.sessions.count == 0 and self._site.handler() is None:
            return DrainProgress(phase=Phase.DRAINED, at_start=0, left=0)
        until = time.monotonic() + deadline + _LEAVE_SECONDS
        progress = self.begin_shutdown(deadline=deadline, rate=rate, over=over, settle=settle, reason=reason)
        while progress.phase is not Phase.DRAINED and time.monotonic() < until:
            await asyncio.sleep(0.05)
            progress = self.progress() or progress
        return progress

    def _follow(self) -> None:
        """Take note of the intent in force: called as soon as it is known, before the node's record is put."""
        intent, conduct = self._site.orders.intent, self._conduct
        if self._ending:
            return
        if intent is None or not intent.drains:
            self._end(conduct, intent)
        elif conduct is not None and conduct.intent.id == intent.id:
            conduct.take_terms(intent)
        else:
            self._begin(intent)
        self._site.place_state(self.state)

    def _begin(self, intent: Intent) -> None:
        log.info("drain asked for by %s: %s", intent.by or "somebody", intent.reason or "no reason given")
        self._become(Conduct(self._site, intent, self._permits))

    def _end(self, conduct: Conduct | None, intent: Intent | None) -> None:
        if conduct is not None and not conduct.course.given_up:
            conduct.tell("undrained" if intent is None else "cordoned")
        self._become(None, conduct.progress() if conduct and conduct.course.given_up else None)

    def _become(self, conduct: Conduct | None, last: DrainProgress | None = None) -> None:
        before, self._conduct, self._last = self._conduct, conduct, last
        if before is not None:
            before.drain.cancel()
        if before is not None and conduct is not None:
            conduct.course.blocked_by = "the drain before: its handler has been cancelled and has not ended yet"
        if not self._ending:  # a process that ends keeps the permit it has: it goes with its lease
            self._permits.release()
        self._site.place_state(self.state)
        self._changed.fire()

    async def _carry_out_for_ever(self) -> None:
        while True:
            conduct = self._conduct
            if conduct is None:
                await self._changed.wait()
            else:
                await self._carry_out(conduct)

    async def _carry_out(self, conduct: Conduct) -> None:
        async with beside(conduct.run(), name=f"clusterd drain of {self._site.node().id}") as task:
            task.add_done_callback(lambda _: self._changed.fire())
            while self._conduct is conduct and not task.done():
                await self._changed.wait()
