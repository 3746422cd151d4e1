"""This node's permit to drain: got, kept, and given back, whatever happens to etcd meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

from clusterd.aio import Backoff, Deadline, Signal, beside, level_for
from clusterd.drain.intent import Intent
from clusterd.drain.operator import list_intents
from clusterd.drain.queue import (
    HALF_PLACED,
    Permit,
    Place,
    cohort_needs,
    decode_permit,
    encode_permit,
    order_needs,
    permit_needs,
)
from clusterd.drain.site import Site
from clusterd.etcd import ops
from clusterd.etcd.errors import Compacted, EtcdError, Unavailable
from clusterd.etcd.lease import call_seconds
from clusterd.etcd.messages import KeyValue, RangeReply
from clusterd.keys import range_end

log = logging.getLogger(__name__)

_COHORT_SECONDS = 10.0
_LOOK_AGAIN = 2.0
_TRY_AGAIN = 0.05
_UNCERTAIN = "a permit: while etcd is away it can't be known that ours still holds"


class PermitKeeper:
    """Keeps a permit under this node's lease for as long as a drain wants one.

    `granted` says whether the node may move sessions, `needs` what that waits for. A drain that has a limit of its own
    may only while its permit is certain, by our own clock: once the lease may have lapsed another node can have taken
    its place. One without goes on while etcd is away, and asks anew when it is back.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._needs = "a permit"
        self._intent: Intent | None = None
        self._given_back = True
        self._granted_lease = 0
        self._members: dict[str, int] = {}
        self._placing = False
        self._cohort_deadline: Deadline | None = None
        self._order_deadline: Deadline | None = None
        self._cohort_ready = True
        self._patience = call_seconds(site.ttl)
        self._changed = Signal()

    @property
    def granted(self) -> bool:
        """Whether the node may move sessions at this moment."""
        if self._intent is None or not self._granted_lease:
            return False
        certain = self._granted_lease == self._site.lease() and self._site.certain()
        return certain or self._intent.max_unavailable is None

    @property
    def needs(self) -> str:
        """What that waits for, in words; empty if it doesn't."""
        if self._granted_lease:
            return "" if self.granted else _UNCERTAIN
        return self._needs

    def want(self, intent: Intent) -> None:
        """Get a permit for that drain, or go on keeping it."""
        if intent is self._intent:
            return
        if self._intent is not None and self._intent.id == intent.id:
            self._intent = intent
            self._changed.fire()
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
                self._needs = f"a permit: {error}"
                await self._pause(backoff.next())

    def _reset(self, intent: Intent | None) -> None:
        self._intent = intent
        self._needs, self._granted_lease = "a permit", 0
        self._members, self._placing, self._cohort_deadline, self._order_deadline = {}, False, None, None
        self._cohort_ready = intent is None or intent.cohort_size <= 1
        self._changed.fire()

    async def _step(self) -> None:
        intent = self._intent
        if intent is None:
            if not self._given_back:
                await self._give_back()
            if self._intent is None:
                await self._changed.wait()
            return
        needs = "" if self._granted_lease else await self._cohort_needs(intent)
        if intent is not self._intent:
            return
        if needs:
            self._needs = needs
            await self._pause(0.5 * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load
        else:
            await self._queue_up(intent)

    async def _give_back(self) -> None:
        """Delete our permit, if there may be one. Raises `EtcdError`."""
        lease = self._site.lease()
        if lease and not self._given_back:
            await self._site.client.delete(self._site.keyspace.permit(lease))
        self._given_back = self._intent is None

    async def _cohort_needs(self, intent: Intent) -> str:
        """Return what the cohort still waits for; not for ever: a member may have been undrained, or hang."""
        if self._cohort_ready:
            return ""
        if self._cohort_deadline is None:
            self._cohort_deadline = self._soon()
        if self._placing or len(self._members) < intent.cohort_size:
            await self._read_cohort(intent)
        size, nodes = intent.cohort_size, self._site.topology()
        needs = cohort_needs(self._members, size, nodes, placing=self._placing)
        if needs and needs != HALF_PLACED and self._cohort_deadline.expired:
            log.warning("drain: waited long enough for %s; going on", needs)
            needs = ""
        self._cohort_ready = not needs
        return needs

    async def _read_cohort(self, intent: Intent) -> None:
        views = await list_intents(self._site.client, self._site.keyspace)
        members = {view.node: view.intent for view in views if view.intent and view.intent.cohort == intent.cohort}
        self._members = {node: member.order for node, member in members.items()}
        self._placing = any(member.placing for member in members.values())
        if self._placing:
            self._cohort_deadline = None

    def _soon(self) -> Deadline:
        return Deadline.after(max(_COHORT_SECONDS, 2 * self._site.ttl))

    async def _queue_up(self, intent: Intent) -> None:
        """See that our permit is in the queue and where it stands, then wait until something may have changed."""
        lease, prefix = self._site.lease(), self._site.keyspace.permits
        if not lease:
            return await self._pause(0.1)
        key = self._site.keyspace.permit(lease)
        queue = await self._site.client.range(prefix, range_end(prefix), timeout=self._patience)
        if intent is not self._intent:
            return None
        own = next((kv for kv in queue.kvs if kv.key == key), None)
        if own is None or not await self._is_current(own, lease, intent):
            return await self._enrol(key, own, lease, intent)
        if self._judge(own, queue, lease, intent):
            return await self._claim(own, queue, lease, intent)
        return await self._wait(key if self._granted_lease else prefix, queue.header.revision)

    async def _is_current(self, own: KeyValue, lease: int, intent: Intent) -> bool:
        """Whether the place is this drain's; puts other limits there if the terms have changed."""
        permit = decode_permit(own.value)
        if permit is None or permit.intent != intent.id:
            return False
        if own.value != (value := encode_permit(self._permit(intent, granted=permit.granted))):
            await self._write([ops.mod_revision_is(own.key, own.mod_revision)], ops.put(own.key, value, lease=lease))
        return True

    async def _enrol(self, key: bytes, own: KeyValue | None, lease: int, intent: Intent) -> None:
        """Take a place at the end of the queue; one of a drain before is given up first: it is older than this one."""
        if self._intent is None or self._intent.max_unavailable is not None:
            self._granted_lease = 0
        if own is not None:
            await self._site.client.txn([ops.mod_revision_is(key, own.mod_revision)], [ops.delete(key)], [])
        place = ops.put(key, encode_permit(self._permit(intent, granted=False)), lease=lease)
        if not await self._write([ops.mod_revision_is(key, 0)], place):
            raise Unavailable("the intent is another one by now")

    def _judge(self, own: KeyValue, queue: RangeReply, lease: int, intent: Intent) -> bool:
        """Note where our place stands; returns whether it may be granted. What was granted stays so.

        A node that fails later is no reason to stop halfway.
        """
        permit, nodes = self._permit(intent, granted=False), self._site.topology()
        places = [Place(kv.create_revision, decode_permit(kv.value)) for kv in queue.kvs]
        if next(place.granted for place in places if place.since == own.create_revision):
            self._granted_lease = lease
            return False
        self._needs = permit_needs(permit, own.create_revision, places, nodes) or self._order_needs(permit, places)
        if self._needs:
            self._granted_lease = 0
        return not self._needs

    def _order_needs(self, permit: Permit, places: list[Place]) -> str:
        """Return whom of the cohort we let go first; not for ever, as they may hang."""
        needs = order_needs(permit, places, self._members, self._site.topology())
        if needs and self._order_deadline is None:
            self._order_deadline = self._soon()
        return "" if self._order_deadline and self._order_deadline.expired else needs

    async def _claim(self, own: KeyValue, queue: RangeReply, lease: int, intent: Intent) -> None:
        """Grant ourselves the permit, if the queue is still the one that was judged, or shorter."""
        prefix = self._site.keyspace.permits
        same = ops.unchanged_since(prefix, range_end(prefix), queue.header.revision)
        granted = ops.put(own.key, encode_permit(self._permit(intent, granted=True)), lease=lease)
        if await self._write([ops.create_revision_is(own.key, own.create_revision), same], granted):
            if intent is self._intent:
                self._granted_lease = lease
        else:
            await self._pause(_TRY_AGAIN * random.random())  # noqa: S311 - spreads load

    def _permit(self, intent: Intent, *, granted: bool) -> Permit:
        return Permit(
            node=self._site.node().id,
            intent=intent.id,
            max_unavailable=intent.max_unavailable,
            min_active=intent.min_active,
            cohort=intent.cohort,
            order=intent.order,
            granted=granted,
        )

    async def _write(self, compares: list[ops.Compare], operation: ops.Op) -> bool:
        """Write into the queue while our intent is in force; returns whether that, and the compares, held."""
        orders = self._site.orders
        in_force = ops.mod_revision_is(orders.key, orders.revision)
        reply = await self._site.client.txn([in_force, *compares], [operation], [], timeout=self._patience)
        return reply.succeeded

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
