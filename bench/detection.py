"""How long it takes until the fleet knows that nodes were killed: from SIGKILL to the topology of an agent.

    python -m bench.detection [--ttls 5,10,30] [--nodes N] [--rounds N]

The nodes of one TTL are agents of one process, which is killed when each of them has renewed its lease at its own
phase; an agent of the same TTL in this process watches. All TTLs are measured at the same time, on one etcd.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import time
from collections.abc import Sequence

from bench import rig
from clusterd import Agent
from clusterd.etcd.embedded import EmbeddedEtcd

_JOIN_SECONDS = 120.0


async def watch_deaths(url: str, ttl: int, nodes: int, rounds: int) -> list[float]:
    """Return the seconds after which each node was counted out, of all rounds."""
    prefix, found = f"/ttl-{ttl}/", list[float]()
    async with Agent("observer", "10.0.0.1:8080", etcd=url, prefix=prefix, ttl=ttl) as agent:
        for number in range(rounds):
            command = ("agents", "stay", url, prefix, f"round-{number}", nodes, ttl)
            async with rig.workers(command) as [worker]:
                async with asyncio.timeout(_JOIN_SECONDS):
                    while len(agent.topology) < 1 + nodes:  # noqa: ASYNC110 - a bench may poll
                        await asyncio.sleep(0.1)
                # The first renewals are at random times; from the second on each is a third of the TTL after the last.
                await asyncio.sleep(ttl * random.uniform(0.7, 1.0))
                found += await kill(worker.pid, agent)
            rig.progress(f"TTL {ttl}: round {number + 1} of {rounds}")
    return found


async def kill(pid: int, agent: Agent) -> list[float]:
    """Kill the process with the nodes, and return when the agent's topology lost each of them."""
    changes, gone = agent.changes(), list[float]()
    pending = agent.topology.nodes.keys() - {agent.node.id}
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    while pending:
        left = {node.id for node in (await anext(changes)).left} & pending
        gone += [time.monotonic() - killed] * len(left)
        pending -= left
    return gone


async def measure(ttls: Sequence[int], nodes: int, rounds: int) -> dict[int, list[float]]:
    """Return the figures by TTL."""
    async with EmbeddedEtcd() as etcd:
        found = await asyncio.gather(*(watch_deaths(etcd.endpoint, ttl, nodes, rounds) for ttl in ttls))
    return dict(zip(ttls, found, strict=True))


def report(found: dict[int, list[float]]) -> None:
    rows = [
        (
            f"{ttl} s",
            f"{len(times)}",
            *(f"{value:.1f} s" for value in (min(times), rig.median(times), rig.quantile(times, 0.99), max(times))),
        )
        for ttl, times in found.items()
    ]
    rig.show("From SIGKILL to the topology", ["TTL", "nodes killed", "least", "p50", "p99", "most"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ttls", default="5,10,30")
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ttls = [int(text) for text in options.ttls.split(",")]
    report(asyncio.run(measure(ttls, options.nodes, options.rounds)))


if __name__ == "__main__":
    main()
