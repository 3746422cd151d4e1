"""Contend for an election with real processes while everything around them breaks, and check the history.

`python -m tests.chaos.elections --seconds 180 --seed N`: exits 1 if something happened that must not. With `--strict`
winners settle for a whole TTL, and faults come two at a time; else faults come one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from clusterd.etcd.client import Client
from clusterd.etcd.messages import Event
from clusterd.etcd.options import EtcdOptions
from clusterd.etcd.process import EtcdProcess
from clusterd.testing import AdminError, EtcdBinary, EtcdCluster
from tests.chaos.candidate import REGISTER
from tests.chaos.competitor import Competitor
from tests.chaos.history import History, Landed, Tenure

OFFICE = b"/elections/chaos"
_READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Rules:
    """How a run goes: `settle` is the candidates' own, `hands` the number of faults at a time."""

    seconds: float
    seed: int
    ttl: int = 2
    settle: float = 0.25
    hands: int = 1
    candidates: int = 4


class Chaos:
    """The faults, one method each: every one puts right what it broke before it returns."""

    def __init__(self, cluster: EtcdCluster, competitors: Sequence[Competitor], rules: Rules) -> None:
        self._cluster = cluster
        self._competitors = competitors
        self._ttl = rules.ttl
        self._rng = random.Random(rules.seed)
        self._etcd = asyncio.Lock()
        self.done: Counter[str] = Counter()

    async def reign(self, seconds: float) -> None:
        """Let faults happen, one after the other, for that long."""
        faults = (
            *(self.kill_a_member, self.pause_a_member, self.lose_the_quorum),
            *(self.pause_a_candidate, self.kill_a_candidate, self.partition_a_candidate),
            *(self.revoke_the_leader, self.revoke_somebody, self.depose_the_leader),
        )
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(self._rng.uniform(0.3, 1.5))
            fault = self._rng.choice(faults)
            await fault()
            self.done[fault.__name__] += 1

    async def kill_a_member(self) -> None:
        async with self._etcd:
            member = self._rng.choice(self._cluster.members)
            await member.kill()
            await asyncio.sleep(self._rng.uniform(0.1, 1.5))
            await member.start()

    async def pause_a_member(self) -> None:
        async with self._etcd:
            await self._pause(self._rng.sample(self._cluster.members, 1))

    async def lose_the_quorum(self) -> None:
        async with self._etcd:
            await self._pause(self._rng.sample(self._cluster.members, 2))

    async def pause_a_candidate(self) -> None:
        await self._rng.choice(self._competitors).pause(self._rng.uniform(0.2, 2.5 * self._ttl))

    async def kill_a_candidate(self) -> None:
        competitor = self._rng.choice(self._competitors)
        await competitor.kill()
        await asyncio.sleep(self._rng.uniform(0.0, self._ttl))
        await competitor.start()

    async def partition_a_candidate(self) -> None:
        await self._rng.choice(self._competitors).cut_off(self._rng.uniform(0.2, 2.0 * self._ttl))

    async def revoke_the_leader(self) -> None:
        await self._revoke(lambda leases: leases[0])

    async def revoke_somebody(self) -> None:
        await self._revoke(self._rng.choice)

    async def depose_the_leader(self) -> None:
        with contextlib.suppress(AdminError, aiohttp.ClientError, TimeoutError):
            standing = await self._cluster.admin.range(OFFICE + b"/")
            if standing:
                await self._cluster.admin.delete(min(standing, key=lambda kv: kv.create_revision).key)

    async def _revoke(self, choose: Callable[[list[int]], int]) -> None:
        with contextlib.suppress(AdminError, aiohttp.ClientError, TimeoutError):
            standing = await self._cluster.admin.range(OFFICE + b"/")
            leases = [kv.lease for kv in sorted(standing, key=lambda kv: kv.create_revision)]
            if leases:
                await self._cluster.admin.lease_revoke(choose(leases))

    async def _pause(self, members: Sequence[EtcdProcess]) -> None:
        for member in members:
            member.pause()
        await asyncio.sleep(self._rng.uniform(0.2, 2.0 * self._ttl))
        for member in members:
            member.resume()


async def contend(rules: Rules, binary: EtcdBinary | None = None) -> tuple[History, Counter[str]]:
    """Run candidates and chaos by these rules; return the history, and how often each fault happened."""
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(EtcdCluster(3, binary=binary))
        competitors = [
            await stack.enter_async_context(
                Competitor(f"c{number}", cluster.endpoints, "--settle", str(rules.settle), ttl=rules.ttl)
            )
            for number in range(rules.candidates)
        ]
        chaos = Chaos(cluster, competitors, rules)
        await asyncio.gather(*(chaos.reign(rules.seconds) for _ in range(rules.hands)))
        await cluster.wait_healthy()
        await asyncio.sleep(rules.ttl)
        for competitor in competitors:
            await competitor.kill()
        history = History()
        for competitor in competitors:
            competitor.testify(history)
        await read_etcd(cluster, history)
        return history, chaos.done


async def read_etcd(cluster: EtcdCluster, history: History) -> None:
    """Add what etcd saw: every key of the office and every write, from its first revision on."""
    record = _EtcdRecord()
    async with Client(EtcdOptions.of(cluster.endpoints)) as client:
        last = await cluster.admin.put("/chaos/end")
        async with asyncio.timeout(_READ_SECONDS), client.watch(b"/", b"0", start_revision=1) as watch:
            async for events in watch:
                for event in events:
                    record.add(event)
                if events[-1].kv.mod_revision >= last:
                    break
    history.landed = record.landed
    history.tenures = record.tenures()


@dataclass(slots=True)
class _EtcdRecord:
    """What etcd's own history says, event by event."""

    landed: list[Landed] = field(default_factory=list)
    created: dict[int, bytes] = field(default_factory=dict)
    deleted: dict[bytes, int] = field(default_factory=dict)
    resigned: set[int] = field(default_factory=set)

    def add(self, event: Event) -> None:
        kv = event.kv
        if kv.key == REGISTER.encode():
            text = kv.value.decode()
            self.landed.append(Landed(text, int(text.split()[0]), kv.mod_revision))
        elif kv.key.startswith(OFFICE + b"/"):
            if event.type == "DELETE":
                self.deleted[kv.key] = kv.mod_revision
            else:
                self.created[kv.create_revision] = kv.key
        elif kv.key == OFFICE and event.type == "PUT":
            self.resigned.add(int(kv.value))

    def tenures(self) -> list[Tenure]:
        return [
            Tenure(fence, self.deleted.get(key, 0), resigned=fence in self.resigned)
            for fence, key in self.created.items()
        ]


def describe(history: History, faults: Counter[str]) -> str:
    """Sum up a run for people."""
    margins = history.margins()
    outcomes = Counter(write.outcome for write in history.writes)
    lines = [
        f"{len(history.terms)} terms, writes: {dict(outcomes)}, {len(history.landed)} in etcd",
        f"faults: {dict(faults)}",
        f"ends: {dict(Counter(term.reason for term in history.terms))}",
    ]
    if margins:
        lines.append(
            f"seconds from a term's end to the next begin: least {min(margins):.4f}, "
            f"median {statistics.median(margins):.4f}, most {max(margins):.4f}"
        )
    if expired := history.expiry_margins():
        lines.append(f"of those where the lease expired: least {min(expired):.3f}, of {len(expired)}")
    return "\n".join([*lines, *history.problems()])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--ttl", type=int, default=2)
    parser.add_argument("--strict", action="store_true")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    rules = Rules(given.seconds, given.seed, given.ttl)
    if given.strict:
        rules = Rules(given.seconds, given.seed, given.ttl, settle=float(given.ttl), hands=2)
    history, faults = asyncio.run(contend(rules))
    print(describe(history, faults))
    return 1 if history.problems() else 0


if __name__ == "__main__":
    sys.exit(main())
