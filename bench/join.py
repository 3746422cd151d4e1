"""Agents that join at once: how long until all see all, beside bare aiohttp nodes that do the least for the same.

    python -m bench.join [--agents N] [--processes N] [--rounds N]

A bare node grants a lease, puts its key, lists, watches, and json.loads what comes. Each round has a new etcd.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from bench import rig
from clusterd.etcd.embedded import EmbeddedEtcd

_SIDES = {"agents": "clusterd agents", "peers": "bare aiohttp nodes"}


@dataclass(frozen=True, slots=True)
class Run:
    """What one side did in one round, in seconds; `seen` holds for each node when it saw all."""

    seen: list[float]
    etcd_cpu: float
    nodes_cpu: float
    troubles: Counter[str]


async def run(side: str, agents: int, processes: int) -> Run:
    """Let all join a new etcd, and wait until all have seen all."""
    async with EmbeddedEtcd() as etcd:
        each = agents // processes
        commands = [(side, "join", etcd.endpoint, number * each, each, each * processes) for number in range(processes)]
        async with rig.workers(*commands) as workers:
            before = rig.cpu_seconds(etcd.process.pid)
            for worker in workers:
                worker.cue()
            figures: list[dict[str, Any]] = await asyncio.gather(*(worker.heard() for worker in workers))
            spent = rig.cpu_seconds(etcd.process.pid) - before
    return Run(
        [seen for each_ in figures for seen in each_["seen"]],
        spent,
        sum(each_["cpu"] for each_ in figures),
        sum((Counter(each_["troubles"]) for each_ in figures), Counter()),
    )


async def measure(agents: int, processes: int, rounds: int) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {side: [] for side in _SIDES}
    for number in range(rounds):
        for side, name in _SIDES.items():
            rig.progress(f"round {number + 1} of {rounds}: {name}")
            found[side].append(await run(side, agents, processes))
    return found


def report(agents: int, processes: int, found: dict[str, list[Run]]) -> None:
    figures = {side: summary(runs) for side, runs in found.items()}
    bare = figures["peers"]
    rows = [
        (name, *(f"{value:.1f} s ({value / least:.2f}×)" for value, least in zip(figures[side], bare, strict=True)))
        for side, name in _SIDES.items()
    ]
    columns = ["", "p50 sees all", "last sees all", "etcd's CPU", "CPU of the nodes"]
    rig.show(f"{agents} nodes join at once, in {processes} processes", columns, rows)
    troubles = sum((one.troubles for one in found["agents"]), Counter[str]())
    rounds = len(found["agents"])
    print(f"The agents' warnings, in {rounds} rounds: {troubles.total()}")
    for kind, count in troubles.most_common(8):
        print(f"{count:6} {kind}")


def summary(runs: list[Run]) -> list[float]:
    """Return the medians over the rounds."""
    return [
        rig.median(values)
        for values in (
            [rig.median(one.seen) for one in runs],
            [max(one.seen) for one in runs],
            [one.etcd_cpu for one in runs],
            [one.nodes_cpu for one in runs],
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    found = asyncio.run(measure(options.agents, options.processes, options.rounds))
    report(options.agents, options.processes, found)


if __name__ == "__main__":
    main()
