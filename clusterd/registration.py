"""The registration: one loop that keeps this node's key in etcd, whatever happens to lease, key or etcd."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from clusterd.aio import Backoff, Deadline, Patience, Signal, level_for
from clusterd.errors import NodeIdHeld, NodeReplaced
from clusterd.etcd import ops
from clusterd.etcd.client import Client
from clusterd.etcd.errors import EtcdError, LeaseGone, Refused, TlsFailed, Unavailable
from clusterd.etcd.lease import Lease, call_seconds
from clusterd.etcd.messages import KeyValue
from clusterd.keys import Keyspace
from clusterd.node import Node, decode_node, encode_node
from clusterd.session import Session
from clusterd.topology import Topology

log = logging.getLogger(__name__)

# etcd looks for expired leases twice a second and deletes their keys through raft: a lapsed key may outlive its TTL so.
_LAPSE_MARGIN = 2.0
# Without a lease nothing is lost by waiting, and every grant that is given up on is one more for etcd to make.
_LONGEST_GRANT = 30.0


class Orders(Protocol):
    """What operators want of the node: it is looked at in the transaction that puts the record.

    `revision` is the one that wrote `key` as far as is known, 0 where nothing is there; `taken` is told what the key
    holds, and at which revision of etcd, and may `amend` the record before it is put.
    """

    key: bytes
    revision: int

    def taken(self, kv: KeyValue | None, at: int) -> None:
        """Take over what was found."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """What we know to have put: the value, under which lease, at which revision."""

    value: bytes
    lease: int
    revision: int


class Registration:
    """Keeps "lease alive, key present, value current" true, for ever.

    The loop compares what should be with what is and mends the difference; whatever notices a difference (a renewal
    that fails, the mirror that sees the key changed, `update`) only wakes it. A lease that may still live is renewed,
    never replaced: a full etcd takes keepalives but grants nothing.
    """

    def __init__(
        self,
        client: Client,
        keyspace: Keyspace,
        node: Node,
        *,
        ttl: int,
        session: Session,
        orders: Orders,
        replace: bool = False,
        on_renewed: Callable[[float], None] = lambda _: None,
        on_update: Callable[[Node], None] = lambda _: None,
        on_doubt: Callable[[], None] = lambda: None,
    ) -> None:
        self.node = node
        self.session = session
        self.trouble: EtcdError | None = None
        self.on_held: Callable[[float], None] | None = None
        self._look_again = 0.0
        self._client = client
        self._key = keyspace.node(node.id)
        self._ttl = ttl
        self._orders = orders
        self._replace = replace
        self._on_renewed = on_renewed
        self._on_update = on_update
        self._on_doubt = on_doubt
        self._lease: Lease | None = None
        self._placed: _Placed | None = None
        self._last_revision = 0
        self._seen_revision = 0
        self._hold_deadline: Deadline | None = None
        self._wake = asyncio.Event()
        self._settled = Signal()
        self._patience = Patience(call_seconds(ttl), most=ttl / 2)
        self._grant_patience = Patience(client.options.timeout, most=_LONGEST_GRANT)
        self._backoff = Backoff(0.1, min(max(ttl / 6, 0.2), 3.0))

    @property
    def revision(self) -> int:
        """The revision at which the record as it should be was last put; 0 while it isn't known to be there."""
        placed, lease = self._placed, self._lease
        current = placed and lease and placed.lease == lease.id and placed.value == encode_node(self.node)
        return placed.revision if placed and current else 0

    @property
    def placed(self) -> Node | None:
        """The record as it is known to be in etcd; None while it isn't known to be there as it should."""
        return self.node if self.revision else None

    @property
    def lease_id(self) -> int:
        """The id of the lease held, 0 if none."""
        return self._lease.id if self._lease else 0

    async def run(self) -> None:
        """Keep the node registered, for ever.

        Raises `NodeReplaced` when another instance took the id over; and before the first registration `NodeIdHeld`
        when a live one keeps it, `Refused` and `TlsFailed` for what waiting won't mend.
        """
        while True:
            try:
                await self._step()
            except LeaseGone as error:
                log.warning("registration: %s; registering again", error)
                if self._lease is not None and self._lease.remaining:  # before its time: did etcd lose its data?
                    self._on_doubt()
                self._lease = self._placed = None
                self.session.lost()
            except EtcdError as error:
                await self._pause(error)

    async def update(self, **changes: Any) -> int:
        """Change fields of the node's record, and return the etcd revision at which that was done.

        Raises what `encode_node` raises; then nothing is changed.
        """
        self.amend(**changes)
        return await self.settled()

    def amend(self, **changes: Any) -> None:
        """Change fields of the node's record without waiting until they are in etcd. Raises as `update` does."""
        node = self.node.replace(**changes)
        encode_node(node)
        self.node = node
        self._on_update(node)
        self._wake.set()

    async def settled(self) -> int:
        """Wait until the record is in etcd as it should be, and return the revision at which it was put."""
        while not self.revision:
            await self._settled.wait()
        return self.revision

    def observe(self, topology: Topology) -> None:
        """Compare what the mirror shows with what was put; wakes the loop where they differ."""
        went_back = topology.revision < self._seen_revision
        self._seen_revision = topology.revision
        placed = self._placed
        if placed is None or went_back or topology.revision >= placed.revision:
            seen = topology.nodes.get(self.node.id)
            if placed is None or went_back or not self._ours(seen, placed):
                self._placed = None
                self._wake.set()

    async def leave(self) -> None:
        """Give the registration up at once, if etcd answers within a moment; else it lapses by itself."""
        self.session.close()
        lease, self._lease, self._placed = self._lease, None, None
        if lease is not None:
            try:
                await lease.revoke(timeout=min(self._patience.first, 2.0))
            except EtcdError as error:
                log.warning("registration: not withdrawn (%s): it lapses within %d s", error, lease.ttl)

    async def _step(self) -> None:
        """Mend what is not as it should be, then wait until something may have changed."""
        lease = await self._living_lease()
        placed = self.revision > 0 or await self._place(lease)
        self._backoff.reset()
        self._patience.answered()
        if placed:
            self.trouble = None
            self.session.renewed(lease.deadline)
            self._settled.fire()
        await self._sleep(lease.due if placed else min(lease.due, self._look_again))

    async def _living_lease(self) -> Lease:
        if self._lease is None:
            self._lease = await self._grant()
        elif time.monotonic() >= self._lease.due:
            await self._lease.renew(timeout=self._patience.seconds)
        self._on_renewed(self._lease.sent)
        return self._lease

    async def _grant(self) -> Lease:
        try:
            lease = await Lease.grant(self._client, self._ttl, timeout=self._grant_patience.seconds)
        except Unavailable:
            self._grant_patience.failed()
            raise
        self._grant_patience.answered()
        return lease

    async def _place(self, lease: Lease) -> bool:
        """Put the record under our lease; False while another instance's lease has not lapsed.

        Compare and swap on the key's revision: what is there is overwritten only after it was looked at. The same
        holds for what operators want of the node: no record is put that they had already ruled out.
        """
        orders, known = self._orders, self._placed.revision if self._placed else 0
        while True:
            value, ordered = encode_node(self.node), orders.revision
            reply = await self._client.txn(
                [ops.mod_revision_is(self._key, known), ops.mod_revision_is(orders.key, ordered)],
                [ops.put(self._key, value, lease=lease.id)],
                [ops.get(self._key), ops.get(orders.key)],
                timeout=max(lease.remaining / 2, self._patience.first),  # so that the lease can still be renewed
            )
            if reply.succeeded:
                self._last_revision = reply.header.revision
                self._placed = _Placed(value, lease.id, reply.header.revision)
                return True
            if orders.revision == ordered:
                orders.taken(reply.found(1), reply.header.revision)
            seen = reply.found()
            if seen is not None and seen.mod_revision != known and not await self._may_overwrite(seen):
                return False
            known = seen.mod_revision if seen else 0

    async def _may_overwrite(self, seen: KeyValue) -> bool:
        holder = decode_node(self.node.id, seen.value, lease=seen.lease)
        if seen.lease == 0 or (holder.instance == self.node.instance and not holder.foreign):
            return True
        if self._last_revision:
            if seen.mod_revision < self._last_revision:
                return True  # the ghost of a predecessor, which an etcd restored from a snapshot brought back
            raise NodeReplaced(
                f"node id {self.node.id!r} was taken over by {_describe(holder)}: this instance no longer acts as it"
            )
        return self._replace or await self._lapsed(seen, holder)

    async def _lapsed(self, seen: KeyValue, holder: Node) -> bool:
        """Whether the holder's lease is over; remembers when to look again, and gives up after one TTL of it."""
        lease = await self._client.time_to_live(seen.lease)
        if lease.TTL <= 0:
            return True
        if self._hold_deadline is None:
            self._hold_deadline = Deadline.after(lease.grantedTTL + _LAPSE_MARGIN)
            log.warning("node id %r is held by %s: waiting for its lease to lapse", self.node.id, _describe(holder))
        if self._hold_deadline.expired:
            raise NodeIdHeld(
                f"node id {self.node.id!r} is held by {_describe(holder)}, which is alive: stop that one, "
                "choose another id, or take the id over (replace)"
            )
        wait = min(max(lease.TTL, 0.2), self._hold_deadline.remaining + 0.01)
        self._look_again = time.monotonic() + wait
        if self.on_held is not None:
            self.on_held(wait)
        return False

    async def _pause(self, error: EtcdError) -> None:
        if isinstance(error, Refused | TlsFailed) and not self._last_revision:
            raise error
        log.log(level_for(error, self.trouble), "registration: %s; trying again", error)
        self.trouble = error
        self._patience.failed()
        self.session.troubled()
        await asyncio.sleep(self._backoff.next())

    async def _sleep(self, until: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(until - time.monotonic()):
                await self._wake.wait()
        self._wake.clear()

    def _ours(self, seen: Node | None, placed: _Placed) -> bool:
        return (
            seen is not None
            and not seen.unconfirmed
            and seen.lease == placed.lease
            and seen.instance == self.node.instance
            and (seen.mod_revision == placed.revision)
        )


def _describe(node: Node) -> str:
    if node.foreign:
        return f"a record that is not clusterd's (lease {node.lease:x})"
    return f"instance {node.instance} at {node.address} (started {node.started_at})"
