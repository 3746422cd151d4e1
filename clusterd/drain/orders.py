"""What operators want of this node: its intent, followed for ever."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from clusterd.aio import Backoff, Patience, level_for
from clusterd.drain.intent import Intent, decode_intent
from clusterd.etcd.client import Client
from clusterd.etcd.errors import EtcdError, Unavailable
from clusterd.etcd.lease import call_seconds
from clusterd.etcd.messages import Event, KeyValue
from clusterd.etcd.watch import Watch
from clusterd.keys import Keyspace

log = logging.getLogger(__name__)


class Orders:
    """The intent in force for one node, as far as is known.

    `key` is where it is, `revision` the one that wrote it (0: there is none), `intent` what it says (None also for
    what can't be read). The registration looks at it in its own transaction and hands it over with `taken`; beside
    that `run` watches the key, and reads it about once in three TTLs: a watch can be dead without a sign.
    """

    def __init__(self, client: Client, keyspace: Keyspace, node_id: str, *, ttl: float) -> None:
        self.key = keyspace.intent(node_id)
        self.revision = 0
        self.intent: Intent | None = None
        self.on_change: Callable[[], None] = lambda: None
        self._client = client
        self._ttl = ttl
        self._patience = Patience(call_seconds(ttl), most=ttl)
        self._seen_at = 0
        self._readings = 0

    def taken(self, kv: KeyValue | None, at: int) -> None:
        """Take over what a linearizable read found under the key, at that revision of etcd."""
        self._readings += 1
        self._seen_at = at
        revision = kv.mod_revision if kv else 0
        if revision == self.revision:
            return
        self.revision = revision
        self.intent = decode_intent(kv.value) if kv else None
        if kv is not None and self.intent is None:
            log.warning("the intent at revision %d can't be read: it is passed over", revision)
        self.on_change()

    async def run(self) -> None:
        """Follow the key, for ever."""
        backoff, last = Backoff(0.1, min(max(self._ttl / 6, 0.2), 3.0)), None
        while True:
            try:
                await self.look()
                async with self._client.watch(self.key, None, start_revision=self._seen_at + 1) as watch:
                    backoff.reset()
                    last = None
                    await self._read(watch)
            except EtcdError as error:
                log.log(level_for(error, last), "intent: %s; looking again", error)
                last = error
            await asyncio.sleep(backoff.next())

    async def look(self) -> None:
        """Read the key; what somebody else has read meanwhile is newer. Raises `EtcdError`."""
        readings = self._readings
        try:
            reply = await self._client.range(self.key, timeout=self._patience.seconds)
        except Unavailable:
            self._patience.failed()
            raise
        self._patience.answered()
        if readings == self._readings:
            self.taken(reply.kvs[0] if reply.kvs else None, reply.header.revision)

    async def _read(self, watch: Watch) -> None:
        if watch.revision < self._seen_at:
            raise Unavailable(f"{watch.endpoint} is at revision {watch.revision}, before {self._seen_at} that was seen")
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3 * self._ttl * random.uniform(0.8, 1.0)):  # noqa: S311 - spreads load
                    self._apply(await anext(watch))
                    continue
            await self._probe(watch)

    def _apply(self, events: tuple[Event, ...]) -> None:
        kv, put = events[-1].kv, events[-1].type == "PUT"
        if kv.mod_revision > self._seen_at:
            self.taken(kv if put else None, kv.mod_revision)

    async def _probe(self, watch: Watch) -> None:
        known = self.revision
        await self.look()
        if self.revision != known:
            raise Unavailable(f"{watch.endpoint}: the watch of the intent does not deliver what etcd has")
