"""Following the fleet live: a mirror that runs in the background of a command."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from clusterd.etcd.client import Client
from clusterd.keys import Keyspace
from clusterd.mirror import Mirror
from clusterd.observer import mirroring


@contextlib.asynccontextmanager
async def following(client: Client, keyspace: Keyspace) -> AsyncIterator[Mirror]:
    """Have a mirror of the fleet that has listed it once; from then on it survives every outage.

    It goes by the default TTL, also where nodes have a shorter one: a host that is busy for a second or two must
    not look like an outage of etcd. Raises on entering what the client raises, `Unavailable` within its timeout:
    an endpoint that was mistyped is not waited for.
    """
    await client.range(keyspace.nodes, limit=1)
    async with mirroring(client, keyspace) as mirror:
        yield mirror
