"""The observer: what a router, a proxy or a tool uses to follow the fleet without being a node of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from clusterd.aio import RunsOnce, needing
from clusterd.errors import AgentStopped
from clusterd.etcd.client import Client
from clusterd.etcd.errors import Unavailable
from clusterd.etcd.lease import DEFAULT_TTL, check_ttl
from clusterd.etcd.options import DEFAULT_ENDPOINT, EtcdOptions, check_start_timeout
from clusterd.feed import Changes
from clusterd.keys import Keyspace
from clusterd.mirror import Mirror
from clusterd.topology import EMPTY, Topology


class Observer(RunsOnce):
    """Holds the live topology, and registers nothing: it writes no key, and the fleet doesn't know of it.

    Use it as an async context manager. Entering returns once the fleet was listed; in between it fails static as an
    agent does: whatever happens to etcd, the last topology keeps serving, and `topology.stale` tells how things are.

    Arguments:
        etcd: A URL, several (a list, or joined by commas), or `EtcdOptions` for credentials and TLS.
        prefix: What all keys start with; a fleet is what shares it.
        ttl: The TTL in seconds that the fleet's nodes register with: it sets how fast trouble is noticed.
        start_timeout: Seconds to wait for etcd on entering.

    Raises on entering: `UsageError` for values that can't be used, `Unavailable` when etcd doesn't answer in time,
    `Refused` for what it refuses (login, permission).
    """

    _once = "an observer runs once: make a new one"

    def __init__(
        self,
        etcd: str | Sequence[str] | EtcdOptions = DEFAULT_ENDPOINT,
        *,
        prefix: str = "/",
        ttl: int = DEFAULT_TTL,
        start_timeout: float = 30.0,
    ) -> None:
        self._options = EtcdOptions.of(etcd)
        self._keyspace = Keyspace(prefix)
        self._ttl = check_ttl(ttl)
        self._start_timeout = check_start_timeout(start_timeout)
        self._mirror: Mirror | None = None

    @property
    def topology(self) -> Topology:
        """The newest topology. It is never waited for, and never empty for lack of etcd."""
        return self._mirror.topology if self._mirror else EMPTY

    def changes(self) -> Changes:
        """Return an async iterator over the changes of the topology from this moment on; it ends with the observer."""
        return self._running().changes()

    async def wait_for(self, revision: int, timeout: float | None = None) -> Topology:
        """Wait until everything up to an etcd revision is in the topology, and return that.

        Raises `WaitTimeout` after `timeout` seconds, `AgentStopped` when the observer ends first.
        """
        return await self._running().wait_for(revision, timeout)

    @contextlib.asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        async with (
            Client(self._options) as client,
            mirroring(client, self._keyspace, ttl=self._ttl, start_timeout=self._start_timeout) as self._mirror,
        ):
            yield

    def _running(self) -> Mirror:
        if self._mirror is None:
            raise AgentStopped("the observer is not running: use it as `async with Observer(...) as observer`")
        return self._mirror


@contextlib.asynccontextmanager
async def mirroring(
    client: Client, keyspace: Keyspace, *, ttl: float = DEFAULT_TTL, start_timeout: float | None = None
) -> AsyncIterator[Mirror]:
    """Run a mirror in a task beside the body, which begins when the fleet was listed once.

    Raises on entering `Unavailable` after `start_timeout` seconds, and what waiting won't mend: `Refused`, `TlsFailed`.
    """
    mirror = Mirror(client, keyspace, ttl=ttl)
    async with needing(mirror.run(), name="clusterd observer"):
        await _listed(client, mirror, start_timeout)
        yield mirror


async def _listed(client: Client, mirror: Mirror, timeout: float | None) -> None:
    try:
        async with asyncio.timeout(timeout):
            await mirror.follow_to(1)
    except TimeoutError as error:
        trouble = mirror.trouble or client.failover.trouble or "etcd does not answer"
        raise Unavailable(f"the fleet was not listed within {timeout:g} s: {trouble}") from error
