"""This node's permit to drain: got, kept, and given back, whatever happens to etcd meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

from clusterd.aio import Backoff, Deadline, Signal, beside, level_for
from clusterd.drain.intent import Intent
from clusterd.drain.operator import list_intents
from clusterd.drain.queue import Permit, Place, cohort_needs, decode_permit, encode_permit, permit_needs
from clusterd.drain.site import Site
from clusterd.etcd import ops
from clusterd.etcd.errors import Compacted, EtcdError, Unavailable
from clusterd.etcd.lease import call_seconds
from clusterd.etcd.messages import KeyValue
from clusterd.keys import range_end

log = logging.getLogger(__name__)

_COHORT_SECONDS = 10.0
_LOOK_AGAIN = 2.0


class PermitKeeper:
    """Keeps a permit under this node's lease for as long as a drain wants one.

    `granted` says whether the node may begin, `needs` what that waits for. What was granted stays so while etcd is
    away: a permit that went with its lease is noticed, and asked for anew, when etcd is back.
    """

    def __init__(self, site: Site) -> None:
        self.granted = False
        self.needs = "a permit"
        self._site = site
        self._intent: Intent | None = None
        self._given_back = True
        self._granted_since = 0
        self._members: set[str] = set()
        self._cohort_deadline: Deadline | None = None
        self._patience = call_seconds(site.ttl)
        self._changed = Signal()

    def want(self, intent: Intent) -> None:
        """Get a permit for that drain, or go on keeping it."""
        if self._intent is not None and self._intent.id == intent.id:
            self._intent = intent
            return
        self._reset(intent)
        self._given_back = False

    def release(self) -> None:
        """Give the permit back, as soon as etcd takes it."""
        if self._intent is not None:
            self._reset(None)

    async def run(self) -> None:
        """Get, keep and give back, for ever."""
        backoff, last = Backoff(0.1, self._patience), None
        while True:
            try:
                await self._step()
                backoff.reset()
                last = None
            except EtcdError as error:
                log.log(level_for(error, last), "permit to drain: %s; trying again", error)
                last = error
                self.needs = f"a permit: {error}"
                await self._pause(backoff.next())

    async def give_back(self) -> None:
        """Give back what is held, once, and at once: for the end of the agent. Raises `EtcdError`."""
        lease = self._site.lease()
        if lease and not self._given_back:
            await self._site.client.delete(self._site.keyspace.permit(lease))
        self._given_back = True

    def _reset(self, intent: Intent | None) -> None:
        self._intent = intent
        self.granted, self.needs = False, "a permit"
        self._granted_since, self._members, self._cohort_deadline = 0, set(), None
        self._changed.fire()

    async def _step(self) -> None:
        intent = self._intent
        if intent is None:
            if not self._given_back:
                await self.give_back()
            if self._intent is None:
                await self._changed.wait()
            return
        needs = "" if self.granted else await self._cohort_needs(intent)
        if needs:
            self.needs = needs
            await self._pause(0.5 * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
        else:
            await self._queue_up(intent)

    async def _cohort_needs(self, intent: Intent) -> str:
        """Return what the cohort still waits for; not for ever: a member may have been undrained, or hang."""
        if intent.cohort_size <= 1:
            return ""
        if self._cohort_deadline is None:
            self._cohort_deadline = Deadline.after(max(_COHORT_SECONDS, 2 * self._site.ttl))
        if len(self._members) < intent.cohort_size:
            views = await list_intents(self._site.client, self._site.keyspace)
            self._members = {view.node for view in views if view.intent and view.intent.cohort == intent.cohort}
        needs = cohort_needs(self._members, intent.cohort_size, self._site.topology())
        if needs and self._cohort_deadline.expired:
            log.warning("drain: waited long enough for %s; going on", needs)
            return ""
        return needs

    async def _queue_up(self, intent: Intent) -> None:
        """See that our permit is in the queue and where it stands, then wait until something may have changed."""
        lease = self._site.lease()
        if not lease:
            return await self._pause(0.1)
        key = self._site.keyspace.permit(lease)
        permit = Permit(
            node=self._site.node().id,
            intent=intent.id,
            max_unavailable=intent.max_unavailable,
            min_active=intent.min_active,
        )
        places, own, revision = await self._enrol(key, lease, encode_permit(permit))
        if intent is not self._intent:
            return None
        if own is None:
            raise Unavailable("the intent is another one by now")
        self._judge(permit, own, places)
        return await self._wait(key if self.granted else self._site.keyspace.permits, revision)

    def _judge(self, permit: Permit, own: KeyValue, places: list[Place]) -> None:
        """What is granted stays granted: that another node fails later is no reason to stop halfway."""
        since = own.create_revision
        if self.granted and self._granted_since == since:
            return
        self.needs = permit_needs(permit, since, places, self._site.topology())
        self.granted, self._granted_since = not self.needs, since

    async def _enrol(self, key: bytes, lease: int, value: bytes) -> tuple[list[Place], KeyValue | None, int]:
        """Put our permit if it isn't there as it should be, while the intent is in force; return the queue."""
        prefix, orders = self._site.keyspace.permits, self._site.orders
        queue = ops.get(prefix, range_end(prefix))
        as_it_should_be = {"target": "VALUE", "result": "EQUAL", "key": key, "value": value}
        in_force = ops.mod_revision_is(orders.key, orders.revision)
        put = ops.txn([in_force], [ops.put(key, value, lease=lease)], [])
        reply = await self._site.client.txn([as_it_should_be], [queue], [put, queue], timeout=self._patience)
        listed = reply.responses[-1].response_range
        kvs = listed.kvs if listed else ()
        places = [Place(kv.create_revision, decode_permit(kv.value)) for kv in kvs]
        return places, next((kv for kv in kvs if kv.key == key), None), reply.header.revision

    async def _wait(self, key: bytes, revision: int) -> None:
        """Return when the key, or prefix, has changed, or when it is time to look anyway."""
        end = range_end(key) if key == self._site.keyspace.permits else None
        with contextlib.suppress(Compacted):
            async with beside(self._watch(key, end, revision), name="clusterd watch of permits"):
                await self._pause(_LOOK_AGAIN * random.uniform(0.8, 1.0))  # noqa: S311 - spreads load

    async def _watch(self, key: bytes, end: bytes | None, revision: int) -> None:
        async with self._site.client.watch(key, end, start_revision=revision + 1) as watch:
            await anext(watch)
        self._changed.fire()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
