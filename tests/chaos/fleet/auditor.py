"""The witness of etcd: every change of every key, as etcd has it, in the order of the revisions."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator

from clusterd import Node, Topology
from clusterd.aio import Signal
from clusterd.drain.intent import decode_intent
from clusterd.etcd.client import Client
from clusterd.etcd.errors import Compacted, EtcdError
from clusterd.etcd.messages import Event, KeyValue
from clusterd.keys import Keyspace, range_end
from clusterd.node import decode_node
from clusterd.testing import Recorder
from tests.chaos.fleet.names import REGISTERS, WITNESS

_KEYS = Keyspace()
_REGISTERS = REGISTERS.encode()
_ALL = (b"/", range_end(b"/"))


class Auditor:
    """Follows all keys with a client of its own, and records what they say.

    `follow` is one epoch: from a revision of one history of etcd on. A rebuilt etcd is another one.
    """

    def __init__(self, client: Client, recorder: Recorder) -> None:
        self.revision = 0
        self._client = client
        self._recorder = recorder
        self._progress = Signal()
        self._topology = Topology({})

    async def follow(self, start: int) -> None:
        """Take the keys as they were at revision `start`, then follow them until cancelled."""
        await self._begin(start)
        while True:
            try:
                async with self._client.watch(*_ALL, start_revision=self.revision + 1) as watch:
                    async for events in watch:
                        self._take(events)
            except Compacted as error:
                self._recorder.note("violation", WITNESS, text=f"the auditor missed events: {error}")
                return
            except EtcdError:
                await asyncio.sleep(0.2)

    async def caught_up(self, revision: int) -> None:
        """Wait until all that happened up to a revision is recorded."""
        while self.revision < revision:
            await self._progress.wait()

    async def _begin(self, start: int) -> None:
        reply = None
        while reply is None:
            try:
                reply = await self._client.range(*_ALL, revision=start)
            except EtcdError:
                await asyncio.sleep(0.2)
        self._recorder.note("epoch", WITNESS, revision=start)
        self._topology = Topology({}, cluster_id=reply.header.cluster_id)
        for kv in sorted(reply.kvs, key=lambda kv: kv.mod_revision):
            if not kv.key.startswith(_REGISTERS):  # that was written in the epoch before
                self._key(kv, put=True)
        self._show([_node(kv) for kv in reply.kvs if kv.key.startswith(_KEYS.nodes)], [], start)
        self.revision = start
        self._progress.fire()

    def _take(self, events: Iterable[Event]) -> None:
        for revision, group in itertools.groupby(events, lambda event: event.kv.mod_revision):
            self._at(revision, list(group))
        self._progress.fire()

    def _at(self, revision: int, events: list[Event]) -> None:
        for event in events:
            self._key(event.kv, put=event.type == "PUT")
        ours = [event for event in events if event.kv.key.startswith(_KEYS.nodes)]
        if ours:
            puts = [_node(event.kv) for event in ours if event.type == "PUT"]
            gone = [_KEYS.node_id(event.kv.key) for event in ours if event.type == "DELETE"]
            self._show(puts, gone, revision)
        self.revision = revision

    def _show(self, puts: Iterable[Node], gone: Iterable[str], revision: int) -> None:
        self._topology = self._topology.evolve(puts, gone, revision, cluster_id=self._topology.cluster_id)
        self._recorder.topology(WITNESS, self._topology)

    def _key(self, kv: KeyValue, *, put: bool) -> None:
        for kind, who, facts in _facts(kv, put=put):
            self._recorder.note(kind, who, revision=kv.mod_revision, put=put, **facts)


def _node(kv: KeyValue) -> Node:
    return decode_node(_KEYS.node_id(kv.key), kv.value, lease=kv.lease, mod_revision=kv.mod_revision)


def _facts(kv: KeyValue, *, put: bool) -> Iterator[tuple[str, str, dict[str, object]]]:
    """Say what one key tells; what isn't of interest tells nothing."""
    if kv.key.startswith(_KEYS.nodes):
        node = _node(kv)
        yield "node", node.id, {"state": node.state.value, "foreign": node.foreign}
    elif kv.key.startswith(_KEYS.intents):
        intent = decode_intent(kv.value) if put else None
        yield "intent", _KEYS.node_id(kv.key, _KEYS.intents), {"id": intent.id if intent else ""}
    elif kv.key.startswith(_KEYS.elections):
        name, _, candidate = kv.key[len(_KEYS.elections) :].decode().partition("/")
        if candidate:
            yield "candidate", candidate, {"election": name, "created": kv.create_revision}
        elif put:
            yield "resigned", name, {"election": name, "fence": int(kv.value)}
    elif kv.key.startswith(_REGISTERS) and put:
        text, name = kv.value.decode(), kv.key[len(_REGISTERS) :].decode()
        yield "landed", "", {"election": name, "text": text, "fence": int(text.split()[0])}
