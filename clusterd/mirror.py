"""The mirror: keeps a topology in step with etcd, for ever.

Three layers, each one thing (after kopf's watching): `run` never ends and never gives up; one turn of it lists if it
must and then follows one watch; `clusterd.etcd.watch` is one stream. A watch can be dead without a sign, so that an
independent probe compares what was applied with what etcd has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Callable

from clusterd.aio import Backoff, Patience, Signal, level_for, run_together
from clusterd.errors import AgentStopped, WaitTimeout
from clusterd.etcd.client import Client
from clusterd.etcd.errors import Compacted, EtcdError, Refused, TlsFailed, Unavailable
from clusterd.etcd.lease import DEFAULT_TTL, call_seconds
from clusterd.etcd.messages import RangeReply, decode_range
from clusterd.etcd.ops import range_request
from clusterd.etcd.watch import Watch
from clusterd.feed import Changes, Feed
from clusterd.figures import ChangeCount
from clusterd.keys import Keyspace, range_end
from clusterd.topology import Change, Topology
from clusterd.view import FleetView

log = logging.getLogger(__name__)

# A probe makes etcd look at every node's key: 1,000 nodes that probe every 10 s cost it 100,000 keys a second. Larger
# fleets probe more rarely, so that the cost of one agent's probes doesn't grow with the fleet.
_KEYS_PER_SECOND = 100.0
_LONGEST_LIST = 60.0


class _Missed(Unavailable):
    """The watch did not deliver what etcd has."""


class _Rebuilt(EtcdError):
    """etcd's history is not the one that was followed."""


class Mirror:
    """Holds the live topology of one keyspace.

    `ttl` is the TTL in seconds that the fleet's nodes register with: it sets how fast trouble is noticed, and how long
    nodes are kept that etcd may have lost by itself.
    """

    def __init__(self, client: Client, keyspace: Keyspace, *, ttl: float = DEFAULT_TTL) -> None:
        self._client = client
        self._prefix = keyspace.nodes
        self._range_end = range_end(keyspace.nodes)
        self._view = FleetView(ttl, keyspace.node_id, time.monotonic())
        self._patience = Patience(call_seconds(ttl), most=ttl)
        self._list_patience = Patience(client.options.timeout, most=_LONGEST_LIST)
        self._delivered = -math.inf
        self._feed = Feed()
        self._listeners: list[Callable[[Topology], None]] = []
        self._progress = Signal()
        self._probe_now = asyncio.Event()
        self._backoff = Backoff(0.2, min(max(ttl / 6, 0.2), 3.0))
        self._must_list = True
        self._stopped = False
        self._behind_since = math.inf
        self.synced_revision = 0
        self.counts = ChangeCount()
        self.trouble: EtcdError | None = None

    @property
    def topology(self) -> Topology:
        """The newest topology; empty before the first list."""
        return self._view.topology

    @property
    def synced(self) -> bool:
        """Whether etcd was listed at least once."""
        return self.synced_revision > 0

    @property
    def age(self) -> float | None:
        """Seconds since the topology was last known to be etcd's; None before the first list."""
        return time.monotonic() - self._view.confirmed if self.synced else None

    @property
    def lag(self) -> float:
        """Seconds for which the topology is known to lack something that etcd has; 0 while nothing is."""
        return max(0.0, time.monotonic() - self._behind_since)

    def changes(self) -> Changes:
        """Return the changes from this moment on."""
        return self._feed.subscribe()

    def on_topology(self, listener: Callable[[Topology], None]) -> None:
        """Call `listener(topology)` at each new topology, before any reader of `changes` sees it."""
        self._listeners.append(listener)

    def reached(self, sent: float) -> None:
        """Take note that etcd answered a call sent at that monotonic time: others' calls show too that it lives."""
        self._view.reached(sent)
        if self.topology.stale:
            self._tick()

    def doubt(self) -> None:
        """Take note of a hint that etcd lost its history, such as a lease that is gone before its time: list again."""
        self._view.doubt()
        self._must_list = True
        self._probe_now.set()

    async def wait_for(self, revision: int, timeout: float | None = None) -> Topology:
        """Wait until all that happened up to an etcd revision is in the topology, and return that.

        A revision at which nothing under `nodes/` changed counts as well: etcd is asked, and the topology's
        `synced_revision` says so. Raises `WaitTimeout` after `timeout` seconds, `AgentStopped`.
        """
        self._probe_now.set()
        try:
            async with asyncio.timeout(timeout):
                return await self.follow_to(revision)
        except TimeoutError as error:
            raise WaitTimeout(
                f"revision {revision} was not seen within {timeout} s: the topology is at {self.synced_revision}"
            ) from error

    async def follow_to(self, revision: int) -> Topology:
        """Wait as `wait_for` does, for a revision that wrote a registration: the watch brings it, unasked."""
        while self.synced_revision < revision:
            if self._stopped:
                raise AgentStopped(f"the agent stopped before it saw revision {revision}")
            await self._progress.wait()
        return self._view.synced(self.synced_revision)

    async def run(self) -> None:
        """Keep the topology in step, for ever.

        Before the first list it raises what waiting won't mend: `Refused`, `TlsFailed`.
        """
        forget = self._client.failover.pool.on_failure(lambda _: self._suspect())
        try:
            await run_together(
                **{
                    "clusterd mirror": self._follow_for_ever(),
                    "clusterd pulse": self._feel_pulse(),
                    "clusterd clock": self._keep_time(),
                }
            )
        finally:
            forget()
            self._stopped = True
            self._feed.close()
            self._progress.fire()

    def _suspect(self) -> None:
        """See whether the watch is still alive, where there is another endpoint to go to if it isn't.

        A lone etcd that is slow gets its next probe when it is due: one for each call that failed would slow it more.
        """
        if len(self._client.failover.pool) > 1:
            self._probe_now.set()

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                listed = self._must_list
                if self._must_list:
                    await self._list()
                await self._follow(resuming=not listed)
            except EtcdError as error:
                self._failed(error)
            self._view.broken(time.monotonic())
            await asyncio.sleep(self._backoff.next())

    def _failed(self, error: EtcdError) -> None:
        if isinstance(error, Refused | TlsFailed) and not self.synced:
            raise error
        if isinstance(error, _Rebuilt):
            self._view.doubt()
        self._must_list = self._must_list or isinstance(error, Compacted | Refused | _Missed | _Rebuilt)
        log.log(
            level_for(error, self.trouble),
            "topology: %s; %s",
            error,
            "listing again" if self._must_list else "watching again",
        )
        self.trouble = error

    async def _list(self) -> None:
        sent = time.monotonic()
        try:
            reply = await self._client.range(self._prefix, self._range_end, timeout=self._list_patience.seconds)
        except Unavailable:
            self._list_patience.failed()
            raise
        self._list_patience.answered()
        change = self._view.snapshot(reply, sent)
        self.synced_revision = reply.header.revision
        self._must_list, self._behind_since = False, math.inf
        self._publish(change)

    async def _follow(self, *, resuming: bool) -> None:
        start = self.topology.revision + 1
        async with self._client.watch(self._prefix, self._range_end, start_revision=start) as watch:
            if watch.revision < start - 1:
                raise _Rebuilt(f"{watch.endpoint} is at revision {watch.revision}, before {start - 1} that was seen")
            if resuming:  # what etcd has may have been replaced meanwhile, and then have grown past what was seen
                self._probe_now.set()
            self._view.followed()
            self._tick()
            self.trouble = None
            await run_together(**{"clusterd watch": self._read(watch), "clusterd probe": self._probe_for_ever(watch)})

    async def _read(self, watch: Watch) -> None:
        async for events in watch:
            self._delivered = time.monotonic()
            self._backoff.reset()
            if events[0].kv.mod_revision <= self.synced_revision:
                self._probe_now.set()  # one saw past these, of nodes that came and went: until the next it isn't known
            change = self._view.apply(events, time.monotonic())
            self.synced_revision = self.topology.revision
            self._publish(change)

    async def _probe_for_ever(self, watch: Watch) -> None:
        while True:
            interval = max(self._view.ttl, len(self.topology) / _KEYS_PER_SECOND)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval * random.uniform(0.8, 1.0)):  # noqa: S311 - spreads load
                    await self._probe_now.wait()
            self._probe_now.clear()
            if self._must_list:
                raise _Rebuilt("etcd may have been rebuilt: our lease is gone before its time")
            sent = time.monotonic()
            try:
                await self._probe(watch, sent)
            except Unavailable as error:
                self._patience.failed()
                if self._delivered < sent or isinstance(error, _Missed):
                    raise
                # It is busy, not dead: what it delivers meanwhile would be lost time, and a new watch more to do.
                await asyncio.sleep(self._backoff.next())
            else:
                self._patience.answered()
                self._backoff.reset()

    async def _probe(self, watch: Watch, sent: float) -> None:
        """Compare what was applied with what etcd has, asking the member that serves the watch."""
        known = self.topology.revision
        request = range_request(
            self._prefix, self._range_end, sort_target="MOD", sort_order="DESCEND", limit=1, keys_only=True
        )
        reply = await self._client.call(
            "/kv/range", request, decode_range, timeout=self._patience.seconds, endpoint=watch.endpoint
        )
        self.reached(sent)
        if self._view.rebuilt(reply.header, known):
            raise _Rebuilt(f"{watch.endpoint}: etcd was rebuilt: its history is not the one seen so far")
        await self._catch_up(reply, watch)
        self.synced_revision = max(self.synced_revision, reply.header.revision)
        self._progress.fire()

    async def _catch_up(self, reply: RangeReply, watch: Watch) -> None:
        """Give events that are under way their time; if they don't arrive, the watch is dead."""
        try:
            async with asyncio.timeout(self._patience.seconds):
                while not self._agrees(reply):
                    self._behind_since = min(self._behind_since, time.monotonic())
                    await self._progress.wait()
            self._behind_since = math.inf
        except TimeoutError as error:
            self._client.failover.failed(watch.endpoint)
            raise _Missed(f"{watch.endpoint}: the watch does not deliver what etcd has") from error

    def _agrees(self, reply: RangeReply) -> bool:
        newest = reply.kvs[0].mod_revision if reply.kvs else 0
        applied = self.topology.revision
        return applied >= reply.header.revision or (newest <= applied and reply.count == self._view.key_count)

    async def _feel_pulse(self) -> None:
        """See that etcd answers, where nobody else's calls have shown it lately: an agent's renewals do."""
        every = self._view.ttl * 0.4
        while True:
            await asyncio.sleep(max(self._view.last_reached + every - time.monotonic(), 0.05))
            sent = time.monotonic()
            if sent < self._view.last_reached + every:
                continue
            with contextlib.suppress(EtcdError):
                await self._client.range(self._prefix, timeout=self._patience.seconds)
                self.reached(sent)

    async def _keep_time(self) -> None:
        while True:
            now = time.monotonic()
            await asyncio.sleep(self._view.next_tick(now) - now + 0.001)
            self._tick()

    def _tick(self) -> None:
        self._publish(self._view.tick(time.monotonic()))

    def _publish(self, change: Change) -> None:
        if change.after is not change.before:
            for listener in self._listeners:
                listener(change.after)
        if change:
            self.counts.note(change)
            self._feed.publish(change)
        self._progress.fire()
