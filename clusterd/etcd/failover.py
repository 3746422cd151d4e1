"""How one call gets to an answer: endpoints in turn, one deadline over all of them, a login where one is due."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import tenacity

from clusterd.aio import Deadline
from clusterd.etcd.auth import TokenSource
from clusterd.etcd.calls import CallObserver, observed
from clusterd.etcd.endpoints import EndpointPool
from clusterd.etcd.errors import (
    AuthChanged,
    AuthExpired,
    LoginRefused,
    NoLogin,
    PermissionDenied,
    TlsFailed,
    Unavailable,
    WrongCluster,
)
from clusterd.etcd.messages import decode_status
from clusterd.etcd.transport import Transport

log = logging.getLogger(__name__)
T = TypeVar("T")

Attempt = Callable[[Transport, str | None], Awaitable[T]]
"""One try at one endpoint with one token."""

# Full jitter between the rounds: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
_FULL_JITTER = tenacity.wait_random_exponential(multiplier=0.05, max=1.0)
_TOO_SHORT = 0.1  # the share of a call's time that is not worth a try: it would only cost the endpoint


class Failover:
    """Runs attempts until one succeeds, on the endpoints of one cluster; `observers` hear how each call ended."""

    def __init__(self, pool: EndpointPool, tokens: TokenSource, observers: Sequence[CallObserver] = ()) -> None:
        self.pool = pool
        self.tokens = tokens
        self._observers = observers
        self.transports: Mapping[str, Transport] = {}
        self.cluster_id = 0
        self.trouble: Unavailable | None = None  # why the last attempt failed, if it did

    async def run(
        self, attempt: Attempt[T], seconds: float, *, rpc: str = "", endpoint: str | None = None, login: bool = True
    ) -> T:
        """Return what `attempt` returns on the first endpoint where it succeeds; `rpc` is the path that it calls.

        All endpoints (or the one given) are tried in turn, and all again after a jittered pause, until `seconds` are
        over; then the last `Unavailable` is raised. Any other error is raised at once, and so is `TlsFailed` once
        every endpoint has failed so: waiting mends no certificate.
        """
        deadline = Deadline.after(seconds)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_pass),
            wait=_FULL_JITTER,
            stop=tenacity.stop_before_delay((1 - _TOO_SHORT) * seconds),  # what starts later can only time out
            reraise=True,
        )
        answer: Awaitable[T] = retrying(self._round, attempt, deadline, seconds, endpoint, login)
        return await (observed(self._observers, rpc, answer) if self._observers else answer)

    def failed(self, endpoint: str, *, slow: bool = False) -> None:
        """Note that `endpoint` did not answer: others come first from now on.

        One that broke a connection may be another etcd when it is back; one that was `slow` is still the same, unless
        it is slow again.
        """
        transport = self.transports[endpoint]
        if not slow or transport.slow:
            transport.known = False
        transport.slow = slow and not transport.slow
        self.pool.failed(endpoint)

    def check_cluster(self, transport: Transport, cluster_id: int) -> None:
        """Raise `WrongCluster` unless the answer came from the cluster known so far."""
        self.cluster_id = self.cluster_id or cluster_id
        if cluster_id != self.cluster_id:
            raise WrongCluster(
                f"{transport.endpoint}: belongs to etcd cluster {cluster_id:x}, not to {self.cluster_id:x}: "
                "give endpoints of one cluster only",
                cluster_id,
            )

    async def _round(
        self, attempt: Attempt[T], deadline: Deadline, seconds: float, endpoint: str | None, login: bool
    ) -> T:
        candidates = self.pool.candidates() if endpoint is None else (endpoint,)
        strangers: Counter[int] = Counter()
        last: Unavailable | None = None
        for index, url in enumerate(candidates):
            # One part more than endpoints are left: even a single silent one gets a second try, on a new connection.
            # A try of a later round gets no less than one of the first: an endpoint that is slow would never make it.
            share = deadline.share(len(candidates) - index + 1, floor=max(seconds / (len(candidates) + 1), 0.25))
            if (last or self.trouble) and share < _TOO_SHORT * seconds:
                break
            try:
                answer = await self._try(attempt, self.transports[url], share, deadline, login)
            except NoLogin:
                raise
            except Unavailable as error:
                self.trouble = last = last if last and isinstance(error, TlsFailed) else error
                self.failed(url, slow=isinstance(error.__cause__, TimeoutError))
                if isinstance(error, WrongCluster):
                    strangers[error.cluster_id] += 1
            else:
                self.trouble = None
                self.transports[url].slow = False
                return answer
        self._adopt(strangers)
        raise last or self.trouble or Unavailable("no etcd endpoint to try")

    def _try(
        self, attempt: Attempt[T], transport: Transport, seconds: float, deadline: Deadline, login: bool
    ) -> Awaitable[T]:
        if login:
            return self._with_token(attempt, transport, seconds, deadline)
        return self._on_endpoint(attempt, transport, seconds, None)

    async def _with_token(self, attempt: Attempt[T], transport: Transport, seconds: float, deadline: Deadline) -> T:
        """Run an attempt with a token. What the login takes, or fails of, is not the endpoint's fault."""
        await self._logged_in(self.tokens.get(), deadline)
        token = self.tokens.token
        try:
            return await self._on_endpoint(attempt, transport, min(seconds, deadline.remaining), token)
        except AuthExpired as error:
            if not self.tokens.enabled:
                raise LoginRefused(str(error)) from error
        await self._logged_in(self.tokens.renew(token), deadline)
        try:
            return await self._on_endpoint(attempt, transport, min(seconds, deadline.remaining), self.tokens.token)
        except AuthChanged as error:  # and changed again
            raise NoLogin(str(error)) from error

    async def _logged_in(self, login: Coroutine[Any, Any, object], deadline: Deadline) -> None:
        seconds = deadline.remaining
        try:
            async with asyncio.timeout(seconds):
                await login
        except TimeoutError as error:
            where = ", ".join(self.pool.candidates())
            raise NoLogin(f"{where}: no answer to the login within {seconds:.1f} s") from error
        except TlsFailed as error:
            raise TlsFailed(str(error)) from error
        except Unavailable as error:
            raise NoLogin(str(error)) from error

    async def _on_endpoint(self, attempt: Attempt[T], transport: Transport, seconds: float, token: str | None) -> T:
        try:
            async with asyncio.timeout(seconds):
                await self._introduce(transport, token)
                if token and token != self.tokens.token:
                    raise AuthExpired(f"{transport.endpoint}: the token in use has been replaced")
                return await attempt(transport, token)
        except TimeoutError as error:
            raise Unavailable(f"{transport.endpoint}: no answer within {seconds:.1f} s") from error

    async def _introduce(self, transport: Transport, token: str | None) -> None:
        """Before the first call, and after a failure, make sure that this is an etcd, and of our cluster.

        Afterwards would be too late: a write to the wrong cluster can't be taken back. Calls that start together ask
        once.
        """
        async with transport.introduction:
            if transport.known:
                return
            await transport.detect_version()
            cluster_id = await self._cluster_of(transport, token)
            if cluster_id:
                self.check_cluster(transport, cluster_id)
                transport.known = True

    async def _cluster_of(self, transport: Transport, token: str | None) -> int:
        """Return the id of an endpoint's cluster; 0 where that is told only to who logs in, and we have not yet.

        From 3.4.42, 3.5.28 and 3.6 on etcd with auth tells its status only to who has logged in, up to 3.4.44, 3.5.30
        and 3.6.11 to root alone (etcd-io/etcd #21663). Of a lease that nobody has it tells everybody who has.
        """
        try:
            body = await transport.unary("/maintenance/status", {}, token)
        except PermissionDenied:
            body = await transport.unary("/lease/timetolive", {"ID": 0}, token)
        except AuthExpired:
            if token:
                raise
            return 0  # whoever gets no further than this writes nothing either
        status = decode_status(body, transport.endpoint)
        self.tokens.met(status.raftIndex)  # 0 where it wasn't the status that was told
        return status.header.cluster_id

    def _adopt(self, strangers: Counter[int]) -> None:
        """Take over another cluster id once most endpoints agree on it: etcd was set up anew, not mistyped."""
        for cluster_id, votes in strangers.items():
            if votes * 2 > len(self.pool):
                log.warning("etcd cluster %x was replaced by cluster %x", self.cluster_id, cluster_id)
                self.cluster_id = cluster_id


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, TlsFailed)
