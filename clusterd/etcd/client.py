"""The client: etcd's calls, typed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import aiohttp

from clusterd.aio import Patience
from clusterd.etcd import messages
from clusterd.etcd.auth import TokenSource
from clusterd.etcd.calls import CallObserver
from clusterd.etcd.endpoints import EndpointPool
from clusterd.etcd.errors import Unavailable
from clusterd.etcd.failover import Failover
from clusterd.etcd.messages import Decoder, LeaseReply, RangeReply, Reply, TxnReply
from clusterd.etcd.ops import Compare, Op, range_request
from clusterd.etcd.options import EtcdOptions
from clusterd.etcd.transport import Transport, open_session
from clusterd.etcd.watch import Watch, open_watch

R = TypeVar("R", bound=Reply)

# A login costs etcd a hash (bcrypt), some 0.1 s of a processor: those of a fleet that starts together take their time.
# Who asks again too soon has it made twice, and where all do so none is ever answered in time.
_LONGEST_LOGIN = 120.0


class Client:
    """A client of one etcd cluster, used as an async context manager.

    A call takes `options.timeout` seconds at the most, or the `timeout` given, over all endpoints and attempts, and
    then raises `Unavailable`. Whatever else etcd answers is raised as a class of `clusterd.etcd.errors`.
    The `observers` are told how each call ended, also those added to the sequence later.
    """

    def __init__(self, options: EtcdOptions, observers: Sequence[CallObserver] = ()) -> None:
        self.options = options
        tokens = TokenSource(self._login if options.user is not None else None)
        self.failover = Failover(EndpointPool(options.endpoints), tokens, observers)
        self._login_patience = Patience(2 * options.timeout, most=_LONGEST_LOGIN)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        tls = self.options.tls
        session = open_session(tls.context() if tls else None)
        self._session = session
        self.failover.transports = {url: Transport(url, session) for url in self.options.endpoints}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.failover.tokens.close()
        if self._session is not None:
            await self._session.close()

    @property
    def cluster_id(self) -> int:
        """The id of the etcd cluster that answers; 0 before the first answer."""
        return self.failover.cluster_id

    @property
    def logged_in(self) -> bool:
        """Whether etcd asked for a login and got one; False where auth is off, or nothing was called yet."""
        return bool(self.failover.tokens.token)

    async def range(
        self, key: bytes, range_end: bytes | None = None, *, timeout: float | None = None, **options: Any
    ) -> RangeReply:
        """Read a key, or all keys from `key` up to `range_end`; `options` are etcd's own (limit, keys_only, ...)."""
        request = range_request(key, range_end, **options)
        return await self.call("/kv/range", request, messages.decode_range, timeout=timeout)

    async def put(self, key: bytes, value: bytes, *, lease: int = 0, timeout: float | None = None) -> Reply:
        """Write a key, bound to `lease` if one is given."""
        request = {"key": key, "value": value, "lease": lease}
        return await self.call("/kv/put", request, messages.decode_reply, timeout=timeout)

    async def delete(self, key: bytes) -> bool:
        """Delete a key; returns whether it was there."""
        reply = await self.call("/kv/deleterange", {"key": key}, messages.decode_delete)
        return reply.deleted > 0

    async def txn(
        self, compare: list[Compare], success: list[Op], failure: list[Op], *, timeout: float | None = None
    ) -> TxnReply:
        """Run a transaction. After a lost answer it is sent again: let its compares hold only once."""
        request = {"compare": compare, "success": success, "failure": failure}
        return await self.call("/kv/txn", request, messages.decode_txn, timeout=timeout)

    async def time_to_live(self, lease: int) -> LeaseReply:
        """Return a lease's remaining and granted seconds; TTL is -1 when the lease is gone."""
        return await self.call("/lease/timetolive", {"ID": lease}, messages.decode_lease)

    @asynccontextmanager
    async def watch(
        self, key: bytes, range_end: bytes | None, *, start_revision: int, timeout: float | None = None
    ) -> AsyncIterator[Watch]:
        """Watch a range from `start_revision` on; leaving the context ends the stream."""
        watch = await open_watch(
            self.failover, range_request(key, range_end), start_revision, timeout or self.options.timeout
        )
        try:
            yield watch
        finally:
            watch.close()

    async def call(
        self,
        rpc: str,
        request: dict[str, Any],
        decode: Decoder[R],
        *,
        timeout: float | None = None,
        endpoint: str | None = None,
    ) -> R:
        """Call any unary RPC by its path, such as `/maintenance/status`; with `endpoint`, on that one alone."""

        async def attempt(transport: Transport, token: str | None) -> R:
            reply = decode(await transport.unary(rpc, request, token), f"{transport.endpoint}{rpc}")
            if reply.header.cluster_id:  # a few answers of etcd 3.4 have no header
                self.failover.check_cluster(transport, reply.header.cluster_id)
            return reply

        return await self.failover.run(attempt, timeout or self.options.timeout, rpc=rpc, endpoint=endpoint)

    async def _login(self) -> str:
        rpc, request = "/auth/authenticate", {"name": self.options.user, "password": self.options.password}

        async def attempt(transport: Transport, _: str | None) -> str:
            body = await transport.unary(rpc, request)
            reply = messages.decode_auth(body, transport.endpoint)
            if reply.header.cluster_id:  # some etcds tell it to nobody before
                self.failover.check_cluster(transport, reply.header.cluster_id)
            return reply.token

        try:
            token = await self.failover.run(attempt, self._login_patience.seconds, rpc=rpc, login=False)
        except Unavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                self._login_patience.failed()
            raise
        self._login_patience.answered()
        return token
