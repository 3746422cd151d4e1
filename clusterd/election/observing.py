"""Looking on from outside: who holds an office, who stands for which, and taking an office away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from clusterd.aio import Backoff, level_for
from clusterd.election.ballot import Candidate, Office, in_order
from clusterd.etcd import ops
from clusterd.etcd.client import Client
from clusterd.etcd.errors import Compacted, Refused, TlsFailed, Unavailable
from clusterd.etcd.messages import KeyValue
from clusterd.history import HistoryEntry, new_entry
from clusterd.keys import Keyspace, range_end

log = logging.getLogger(__name__)

_PROBE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ElectionView:
    """One election as etcd had it: all who stand, in the order of their turns; the first one leads."""

    name: str
    candidates: tuple[Candidate, ...]

    @property
    def leader(self) -> Candidate:
        """Who holds the office."""
        return self.candidates[0]

    @property
    def waiting(self) -> tuple[Candidate, ...]:
        """Who comes after."""
        return self.candidates[1:]


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look at an office found: its holder, None while there is none, at a revision.

    `trouble` says why nothing could be seen: then there is neither holder nor revision.
    """

    holder: Candidate | None = None
    revision: int = 0
    trouble: Unavailable | None = None


async def list_elections(client: Client, keyspace: Keyspace) -> list[ElectionView]:
    """Return all elections that somebody stands in, by name. Raises `EtcdError`."""
    prefix = keyspace.elections
    reply = await client.range(prefix, range_end(prefix))
    found: dict[str, list[KeyValue]] = defaultdict(list)
    for kv in reply.kvs:
        name, slash, _ = kv.key[len(prefix) :].rpartition(b"/")
        if slash:  # else it is an election's own key, which stands for no candidate
            found[name.decode(errors="backslashreplace")].append(kv)
    return [ElectionView(name, in_order(kvs)) for name, kvs in sorted(found.items())]


async def read_election(client: Client, keyspace: Keyspace, name: str) -> ElectionView | None:
    """Return one election; None if nobody stands in it. Raises `InvalidOfficeName`, `EtcdError`."""
    office = Office.of_election(keyspace, name)
    reply = await client.range(office.prefix, office.range_end)
    return ElectionView(name, in_order(reply.kvs)) if reply.kvs else None


async def depose(client: Client, keyspace: Keyspace, leader: Candidate, entry: HistoryEntry) -> bool:
    """Take the office away from this leader, as an operator; returns whether it was this that took it.

    Its key is deleted, if it is still the one of this term: a successor is never hit by mistake. The history's `entry`
    is written in the same transaction: by it a lost answer is told from a leader that had gone before. Where etcd takes
    no entry (no right to the history, no space) it goes without. Raises `EtcdError`.
    """
    guard, remove = ops.create_revision_is(leader.key, leader.fence), ops.delete(leader.key)
    try:
        trace, tell = await new_entry(client, keyspace, entry)
        reply = await client.txn([guard], [remove, tell], [ops.get(trace)])
    except Refused:
        return (await client.txn([guard], [remove], [])).succeeded
    return reply.succeeded or reply.found() is not None


async def read_holder(client: Client, office: Office) -> tuple[Candidate | None, int]:
    """Return who holds an office, and the revision at which that was so. Raises `EtcdError`."""
    reply = await client.range(**office.holder())
    return (Candidate.of(reply.kvs[0]) if reply.kvs else None), reply.header.revision


async def observe(client: Client, office: Office) -> AsyncIterator[Candidate | None]:
    """Iterate over the holders of an office, the present one first; None while there is none."""
    last: Sighting | None = None
    async with contextlib.aclosing(sightings(client, office)) as looks:
        async for seen in looks:
            if not seen.trouble and (last is None or seen.holder != last.holder):
                last = seen
                yield seen.holder


async def sightings(client: Client, office: Office) -> AsyncGenerator[Sighting]:
    """Look at who holds an office, and again whenever that may have changed, for ever.

    While etcd is `Unavailable` each look says so. Any other error, and `TlsFailed`, is raised.
    """
    backoff, last = Backoff(0.05, 1.0), None
    while True:
        try:
            holder, revision = await read_holder(client, office)
        except TlsFailed:
            raise
        except Unavailable as error:
            log.log(level_for(error, last), "observing %s: %s; trying again", office, error)
            last = error
            yield Sighting(trouble=error)
            await asyncio.sleep(backoff.next())
        else:
            backoff.reset()
            last = None
            yield Sighting(holder, revision)
            await _changed(client, office, holder, revision)


async def _changed(client: Client, office: Office, holder: Candidate | None, revision: int) -> None:
    """Return when it is time to look again: only the holder's key matters, those who wait come and go unnoticed.

    A watch that ends is a reason to look again, and so is one that has been silent for a while: it can be dead.
    """
    key, end = (holder.key, None) if holder else (office.prefix, office.range_end)
    try:
        async with (
            asyncio.timeout(_PROBE_SECONDS * random.uniform(0.8, 1.0)),  # noqa: S311 - spreads load
            client.watch(key, end, start_revision=revision + 1) as watch,
        ):
            await anext(watch)
    except TimeoutError:
        return
    except (Compacted, Unavailable) as error:
        log.debug("observing %s: %s; looking again", office, error)
        await asyncio.sleep(random.uniform(0.0, 0.5))  # noqa: S311 - spreads load
