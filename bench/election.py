"""What elections cost, beside etcd's own: `python bench/election.py`.

Measures a handover (resign until the next leader's body runs) beside the bare recipe on the same client and beside
`etcdctl elect`; how long an office stays vacant after its leader is killed; and what a handover costs etcd while 100
candidates wait, as counted by etcd itself.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from clusterd.election import Election
from clusterd.etcd.client import Client
from clusterd.etcd.lease import Lease
from clusterd.etcd.options import EtcdOptions
from clusterd.keys import Keyspace
from clusterd.testing import AgentProcess, EtcdServer, eventually
from tests.chaos.competitor import Competitor

TTL = 60
_STARTED = re.compile(r'grpc_server_started_total\{grpc_method="(\w+)".*\} (\d+)')


class Candidate:
    """Leads when its turn comes, and resigns when told."""

    def __init__(self, client: Client, name: str, ttl: int) -> None:
        self.began = 0.0
        self._election = Election(client, Keyspace(), name, ttl=ttl)
        self._elected, self._resign = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def elected(self) -> None:
        await self._elected.wait()

    def resign(self) -> None:
        self._resign.set()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        async with self._election.lead() as term:
            self.began = time.perf_counter()
            self._elected.set()
            await self._resign.wait()
            await term.resign()


async def waiting(client: Client, name: str, count: int) -> None:
    """Wait until that many candidates stand, and their watches had time to open."""
    prefix = Keyspace().election(name) + b"/"

    async def enrolled() -> bool:
        return (await client.range(prefix, prefix[:-1] + b"0", count_only=True)).count >= count

    await eventually(enrolled, 60)
    await asyncio.sleep(0.05)


async def handovers(client: Client, peer: Client, rounds: int) -> list[float]:
    """Seconds from a leader's resignation until the next one's body runs."""
    took = []
    leader = Candidate(client, "handover", TTL)
    await leader.elected()
    for number in range(rounds):
        follower = Candidate((peer, client)[number % 2], "handover", TTL)
        await waiting(client, "handover", 2)
        began = time.perf_counter()
        leader.resign()
        await follower.elected()
        took.append(follower.began - began)
        await leader.close()
        leader = follower
    await leader.close()
    return took


async def bare_handovers(client: Client, peer: Client, rounds: int) -> list[float]:
    """The same with nothing but the recipe: delete the key; who watches it reads again who is first."""
    took = []
    lease = await Lease.grant(client, TTL)
    for number in range(rounds):
        key = f"/bare/{number:06}".encode()
        put = await client.put(key, b"", lease=lease.id)
        began = 0.0
        async with peer.watch(key, None, start_revision=put.header.revision + 1) as watch:
            await asyncio.sleep(0.05)
            began = time.perf_counter()
            deletion = asyncio.create_task(client.delete(key))
            await anext(watch)
            await peer.range(b"/bare/", b"/bare0", sort_target="CREATE", sort_order="ASCEND", limit=1)
            took.append(time.perf_counter() - began)
            await deletion
    await lease.revoke()
    return took


async def etcdctl_handovers(etcd: EtcdServer, rounds: int) -> list[float]:
    """The same between two `etcdctl elect`: from SIGTERM until the next one says that it is elected."""
    took = []
    command = (str(etcd.binary.etcdctl), f"--endpoints={etcd.endpoint}", "elect", "/elections/etcdctl")
    async with AsyncExitStack() as stack:
        leader = await stack.enter_async_context(AgentProcess("0", command=command, env={"ETCDCTL_API": "3"}))
        await leader.wait_for_line("^0$")
        for number in range(1, rounds + 1):
            follower = await stack.enter_async_context(
                AgentProcess(str(number), command=command, env={"ETCDCTL_API": "3"})
            )
            await eventually(lambda: _standing(etcd, "etcdctl", 2))
            await asyncio.sleep(0.05)
            began = time.perf_counter()
            resigning = asyncio.create_task(leader.terminate())
            await follower.wait_for_line(f"^{number}$")
            took.append(time.perf_counter() - began)
            await resigning
            leader = follower
    return took


async def vacancies(etcd: EtcdServer, rounds: int, ttl: int) -> list[float]:
    """Seconds from the SIGKILL of a leader's process until the next one's body runs."""
    took = []
    for _ in range(rounds):
        async with AsyncExitStack() as stack:
            flags = ("--reign", "1000")
            leader = await stack.enter_async_context(Competitor("a", etcd.endpoints, *flags, ttl=ttl))
            await eventually(lambda leader=leader: _begin(leader))
            follower = await stack.enter_async_context(Competitor("b", etcd.endpoints, *flags, ttl=ttl))
            await eventually(lambda: _standing(etcd, "chaos", 2))
            await asyncio.sleep(random.uniform(0.0, ttl / 3))
            killed = time.monotonic()
            await leader.kill()
            took.append(await eventually(lambda follower=follower: _begin(follower), 4 * ttl) - killed)
        await etcd.admin.delete("/elections/chaos/", prefix=True)
    return took


async def herd(etcd: EtcdServer, count: int, rounds: int) -> dict[str, float]:
    """What etcd is asked in a handover, by method, while that many candidates wait; without the renewals."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(EtcdOptions.of(etcd.endpoints)))
        line = [Candidate(client, "herd", 3600)]
        await line[0].elected()
        line += [Candidate(client, "herd", 3600) for _ in range(count + rounds)]
        await waiting(client, "herd", count + rounds + 1)
        await asyncio.sleep(2.0)
        before = await requests(etcd)
        leader = line[0]
        for _ in range(rounds):
            leader.resign()
            leader = await _next_leader(line, leader)
        await asyncio.sleep(0.2)
        after = await requests(etcd)
        for candidate in line:
            await candidate.close()
        return {method: n / rounds for method in after if (n := after[method] - before[method])}


async def requests(etcd: EtcdServer) -> Counter[str]:
    """Return how many calls etcd has begun so far, by method."""
    async with aiohttp.ClientSession() as session, session.get(f"{etcd.endpoint}/metrics") as response:
        return Counter({name: int(n) for name, n in _STARTED.findall(await response.text())})


async def _next_leader(line: Sequence[Candidate], old: Candidate) -> Candidate:
    waits = {asyncio.create_task(each.elected()): each for each in line if not each.began and each is not old}
    done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in rest:
        wait.cancel()
    await asyncio.wait(rest)
    return waits[done.pop()]


def _begin(competitor: Competitor) -> float:
    return next((event["at"] for event in competitor.events if event["kind"] == "begin"), 0.0)


async def _standing(etcd: EtcdServer, name: str, count: int) -> bool:
    return len(await etcd.admin.range(f"/elections/{name}/")) >= count


def report(what: str, seconds: Sequence[float], bare: float | None = None) -> float:
    """Print a line of the table, and return the median."""
    median = statistics.median(seconds)
    ratio = f"  {median / bare:.2f} × bare" if bare else ""
    worst = sorted(seconds)[int(len(seconds) * 0.95)] if len(seconds) > 1 else median
    print(f"{what:42} p50 {median * 1000:8.2f} ms  p95 {worst * 1000:8.2f} ms  n={len(seconds)}{ratio}", flush=True)
    return median


@asynccontextmanager
async def clients(etcd: EtcdServer) -> AsyncIterator[tuple[Client, Client]]:
    async with Client(EtcdOptions.of(etcd.endpoints)) as one, Client(EtcdOptions.of(etcd.endpoints)) as other:
        yield one, other


async def main(rounds: int, kills: int, count: int) -> None:
    async with EtcdServer() as etcd:
        print(f"{etcd.binary}, one member")
        async with clients(etcd) as pair:
            bare = report("bare recipe, two round trips", await bare_handovers(*pair, rounds))
            report("clusterd: resign to the next body", await handovers(*pair, rounds), bare)
            report("bare recipe again", await bare_handovers(*pair, rounds), bare)
        report("etcdctl elect: SIGTERM to the next line", await etcdctl_handovers(etcd, max(5, rounds // 10)), bare)
        ttl = 2
        report(f"SIGKILL to the next body, TTL {ttl} s", await vacancies(etcd, kills, ttl))
        per_handover = await herd(etcd, count, 20)
        counted = ", ".join(f"{method} {n:g}" for method, n in sorted(per_handover.items()))
        print(f"requests per handover, {count} or more waiting: {counted}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--waiting", type=int, default=100)
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.kills, given.waiting))
