"""Waiting for one key to be gone, and calls that are made until etcd answers."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from clusterd.aio import Backoff, level_for
from clusterd.etcd.client import Client
from clusterd.etcd.errors import Compacted, TlsFailed, Unavailable
from clusterd.etcd.messages import KeyValue
from clusterd.etcd.watch import Watch

log = logging.getLogger(__name__)
T = TypeVar("T")


async def insist(call: Callable[[], Awaitable[T]], what: str) -> T:
    """Return what `call` returns, calling again after a jittered pause for as long as etcd is `Unavailable`.

    `what` names it in the log. Any other error, and `TlsFailed`, is raised.
    """
    backoff, last = Backoff(0.05, 1.0), None
    while True:
        try:
            return await call()
        except TlsFailed:
            raise
        except Unavailable as error:
            log.log(level_for(error, last), "%s: %s; trying again", what, error)
            last = error
        await asyncio.sleep(backoff.next())


async def until_gone(client: Client, kv: KeyValue, *, since: int, probe_seconds: float) -> None:
    """Return once the key as it was created is no longer there; `since` is a revision at which it was.

    It survives whatever ends a watch. A watch can also be dead without a sign: about every `probe_seconds` the key
    itself is looked at.
    """
    what = f"watch of {kv.key.decode(errors='backslashreplace')}"
    revision = since
    while revision:
        try:
            async with client.watch(kv.key, None, start_revision=revision + 1) as watch:
                await _deleted(client, watch, kv, probe_seconds)
            revision = 0
        except (Compacted, Unavailable) as error:
            log.debug("%s: %s; looking at the key", what, error)
            revision = await insist(lambda: _present(client, kv), what)


async def _deleted(client: Client, watch: Watch, kv: KeyValue, probe_seconds: float) -> None:
    while True:
        try:
            async with asyncio.timeout(probe_seconds * random.uniform(0.8, 1.0)):  # noqa: S311 - spreads load
                events = await anext(watch)
        except TimeoutError:
            if not await _present(client, kv):
                client.failover.failed(watch.endpoint)
                return
        else:
            if any(event.type == "DELETE" for event in events):
                return


async def _present(client: Client, kv: KeyValue) -> int:
    """Return a revision at which the key as it was created is there, 0 if it is not."""
    reply = await client.range(kv.key)
    same = reply.kvs and reply.kvs[0].create_revision == kv.create_revision
    return reply.header.revision if same else 0
