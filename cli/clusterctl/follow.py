"""Following the fleet live: a mirror that runs in the background of a command."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from clusterd.aio import plain_errors
from clusterd.etcd.client import Client
from clusterd.etcd.lease import DEFAULT_TTL
from clusterd.keys import Keyspace
from clusterd.mirror import Mirror


@contextlib.asynccontextmanager
async def following(client: Client, keyspace: Keyspace, *, ttl: float = DEFAULT_TTL) -> AsyncIterator[Mirror]:
    """Have a mirror of the fleet that has listed it once; from then on it survives every outage.

    `ttl` is what the fleet's nodes register with, in seconds. Raises on entering what the client raises, `Unavailable`
    within its timeout: an endpoint that was mistyped is not waited for.
    """
    await client.range(keyspace.nodes, limit=1)
    mirror = Mirror(client, keyspace, ttl=ttl)
    async with plain_errors(), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(mirror.run(), name="clusterctl mirror")
        try:
            await mirror.wait_for(1)
            yield mirror
        finally:
            running.cancel()
