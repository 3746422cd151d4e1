"""A lease: what ties a node's keys to its being alive."""

from __future__ import annotations

import random
import time
from typing import Self

from clusterd.errors import UsageError
from clusterd.etcd.client import Client
from clusterd.etcd.errors import LeaseExists, LeaseGone, Unavailable
from clusterd.etcd.messages import decode_keepalive, decode_lease, decode_reply
from clusterd.etcd.transport import Transport

DEFAULT_TTL = 10
MAX_TTL = 3600

_KEEPALIVE = "/lease/keepalive"


def check_ttl(ttl: int) -> int:
    """Return `ttl` if a lease may have it, or raise `UsageError`."""
    if not (isinstance(ttl, int) and 1 <= ttl <= MAX_TTL):
        raise UsageError(f"ttl {ttl!r} is out of range: give a whole number of seconds from 1 to {MAX_TTL}")
    return ttl


def call_seconds(ttl: float) -> float:
    """Return the seconds to give a call that keeps something alive: several must fit into the TTL."""
    return min(max(ttl / 6, 0.5), 5.0)


class Lease:
    """A lease that we hold, with the time until which we may believe that we do.

    `ttl` is the number of seconds that etcd granted, which can be more than was asked for. `deadline` is on the
    monotonic clock: the time at which the last renewal that succeeded was *sent*, plus `ttl`. etcd counts from when
    the renewal arrives, so before `deadline` the lease is alive, and after it nobody knows.
    """

    def __init__(self, client: Client, lease_id: int) -> None:
        self.id = lease_id
        self.ttl = 0
        self.sent = 0.0
        self.due = 0.0
        self._client = client

    @classmethod
    async def grant(cls, client: Client, ttl: int, *, timeout: float | None = None) -> Self:
        """Ask etcd for a lease of `ttl` seconds.

        The id is chosen here, so that a grant whose answer was lost can be asked for again without leaving a lease
        behind. The first renewal is due at a random time within a third of the TTL: a fleet that starts together must
        not renew together.
        """
        lease = cls(client, random.getrandbits(62) | 1)
        sent = time.monotonic()
        try:
            reply = await client.call("/lease/grant", {"TTL": ttl, "ID": lease.id}, decode_lease, timeout=timeout)
        except LeaseExists:  # our own, from an attempt whose answer was lost
            await lease.renew(timeout=timeout)
        else:
            lease._renewed(sent, reply.TTL)
        lease.due = lease.sent + random.random() * lease.ttl / 3  # noqa: S311 - spreads load
        return lease

    @property
    def deadline(self) -> float:
        """The monotonic time (seconds) up to which the lease is certainly alive, unless somebody revoked it."""
        return self.sent + self.ttl

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never below 0."""
        return max(0.0, self.deadline - time.monotonic())

    async def renew(self, *, timeout: float | None = None) -> None:
        """Renew the lease once. Raises `LeaseGone` when etcd has no such lease (any more)."""

        async def attempt(transport: Transport, token: str | None) -> tuple[float, int]:
            sent = time.monotonic()
            body = await transport.unary(_KEEPALIVE, {"ID": self.id}, token)
            reply = decode_keepalive(body, f"{transport.endpoint}{_KEEPALIVE}").result
            if reply is None:
                raise Unavailable(f"{transport.endpoint}{_KEEPALIVE}: an answer without a result")
            self._client.failover.check_cluster(transport, reply.header.cluster_id)
            if reply.TTL <= 0:
                raise LeaseGone(f"lease {self.id:x} is gone: it expired or was revoked")
            return sent, reply.TTL

        seconds = timeout or self._client.options.timeout
        sent, ttl = await self._client.failover.run(attempt, seconds, rpc=_KEEPALIVE)
        self._renewed(sent, ttl)

    async def revoke(self, *, timeout: float | None = None) -> None:
        """Give the lease back: etcd deletes its keys at once. One that is gone already is no error."""
        try:
            await self._client.call("/lease/revoke", {"ID": self.id}, decode_reply, timeout=timeout)
        except LeaseGone:
            pass
        finally:
            self.sent = self.due = 0.0

    def _renewed(self, sent: float, ttl: int) -> None:
        self.sent, self.ttl = sent, ttl
        self.due = sent + ttl / 3
