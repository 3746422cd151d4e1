"""The agents of the benches, in processes of their own: the same three lives as in `bench.peers`.

python -m bench.agents watch URL
python -m bench.agents idle URL
python -m bench.agents join URL FIRST COUNT TOTAL
python -m bench.agents stay URL PREFIX NAME COUNT TTL
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
from collections import Counter

from bench.cues import cue, memory, say
from clusterd import Agent
from clusterd.feed import Changes

_START_TIMEOUT = 120.0


async def watch(url: str) -> None:
    arrived: list[tuple[int, float]] = []

    async def read(changes: Changes) -> None:
        async for change in changes:
            arrived.append((change.revision, time.monotonic()))  # noqa: PERF401 - the time is what matters

    async with Agent("observer", "10.0.0.1:8080", etcd=url) as agent:
        reading = asyncio.create_task(read(agent.changes()), name="bench watch")
        say("ready")
        await cue()
        reading.cancel()
    say(arrived)


async def idle(url: str) -> None:
    async with Agent("observer" + str(time.monotonic_ns()), "10.0.0.1:8080", etcd=url):
        say("ready")
        await cue()
        spent = time.process_time()
        await cue()
        say({"cpu": time.process_time() - spent, **memory()})


async def join(url: str, first: str, count: str, total: str) -> None:
    troubles = Troubles()
    logging.getLogger("clusterd").addHandler(troubles)
    say("ready")
    await cue()
    started, spent = time.monotonic(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        seen: list[asyncio.Future[float]] = []
        for number in range(int(first), int(first) + int(count)):
            seen.append(asyncio.get_running_loop().create_future())
            tasks.create_task(live(url, f"gw-{number:05}", int(total), seen[-1]), name=f"bench gw-{number:05}")
        times = [await one - started for one in seen]
        say({"seen": times, "cpu": time.process_time() - spent, "troubles": troubles.kinds})
        await cue()


async def live(url: str, name: str, total: int, seen: asyncio.Future[float]) -> None:
    """Be a node; set `seen` to when the topology showed `total` nodes, and stay until the process is killed."""
    async with Agent(name, "10.0.0.1:8080", etcd=url, start_timeout=_START_TIMEOUT) as agent:
        changes = agent.changes()
        while len(agent.topology) < total:
            await anext(changes)
        seen.set_result(time.monotonic())
        async for _ in changes:
            pass


async def stay(url: str, prefix: str, name: str, count: str, ttl: str) -> None:
    """Be nodes until the process is killed."""

    async def be(node: str) -> None:
        where = {"etcd": url, "prefix": prefix, "start_timeout": _START_TIMEOUT}
        async with Agent(node, "10.0.0.1:8080", ttl=int(ttl), **where):  # type: ignore[arg-type]
            await asyncio.Event().wait()

    say("ready")
    await asyncio.gather(*(be(f"{name}-{number}") for number in range(int(count))))


class Troubles(logging.Handler):
    """Counts what the agents warn of, by message with all figures and ids left out."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kinds: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.kinds[re.sub(r"\S*\d\S*", "…", record.getMessage())] += 1


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    asyncio.run({"watch": watch, "idle": idle, "join": join, "stay": stay}[kind](*arguments))
