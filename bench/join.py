"""Agents that join at once: how long until all see all, beside bare aiohttp nodes that do the least for the same.

    python -m bench.join [--agents N] [--processes N] [--rounds N]

A bare node grants a lease, puts its key, lists, watches, and json.loads what comes. Each round has a new etcd; one in
which not all have seen all within a minute counts as failed.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

from bench import rig
from clusterd.etcd.embedded import EmbeddedEtcd

_GIVE_UP_SECONDS = 60.0
_SIDES = {"agents": "clusterd agents", "peers": "bare aiohttp nodes"}


@dataclass(frozen=True, slots=True)
class Run:
    """What one side did in one round, in seconds; `seen` holds for each node when it saw all."""

    seen: list[float]
    etcd_cpu: float
    nodes_cpu: float
    troubles: Counter[str]


async def run(side: str, agents: int, processes: int) -> Run | None:
    """Let all join a new etcd, and wait until all have seen all; None if they don't."""
    async with EmbeddedEtcd() as etcd:
        each = agents // processes
        commands = [(side, "join", etcd.endpoint, number * each, each, each * processes) for number in range(processes)]
        async with rig.workers(*commands) as workers:
            before = rig.cpu_seconds(etcd.process.pid)
            for worker in workers:
                worker.cue()
            figures: list[dict[str, Any]] = []
            try:
                async with asyncio.timeout(_GIVE_UP_SECONDS):
                    figures += [await worker.heard() for worker in workers]
            except TimeoutError:
                return None
            spent = rig.cpu_seconds(etcd.process.pid) - before
    return Run(
        [seen for each_ in figures for seen in each_["seen"]],
        spent,
        sum(each_["cpu"] for each_ in figures),
        sum((Counter(each_["troubles"]) for each_ in figures), Counter()),
    )


async def measure(agents: int, processes: int, rounds: int) -> dict[str, list[Run | None]]:
    found: dict[str, list[Run | None]] = {side: [] for side in _SIDES}
    for number in range(rounds):
        for side, name in _SIDES.items():
            rig.progress(f"round {number + 1} of {rounds}: {name}")
            found[side].append(await run(side, agents, processes))
    return found


def report(agents: int, processes: int, found: dict[str, list[Run | None]]) -> None:
    whole = {side: [one for one in runs if one] for side, runs in found.items()}
    figures = {side: summary(runs) for side, runs in whole.items() if runs}
    rows = [
        (
            _SIDES[side],
            f"{len(found[side]) - len(whole[side])} of {len(found[side])}",
            *cells(of, figures.get("peers", of)),
        )
        for side, of in figures.items()
    ]
    columns = ["", "failed", "p50 sees all", "last sees all", "worst round", "etcd's CPU", "CPU of the nodes"]
    rig.show(f"{agents} nodes join at once, in {processes} processes; medians of the rounds", columns, rows)
    troubles = sum((one.troubles for one in whole["agents"]), Counter[str]())
    print(f"The agents' warnings, in {len(whole['agents'])} rounds: {troubles.total()}")
    for kind, count in troubles.most_common(8):
        print(f"{count:6} {kind}")


def cells(figures: list[float], bare: list[float]) -> list[str]:
    return [f"{value:.1f} s ({value / least:.2f}×)" for value, least in zip(figures, bare, strict=True)]


def summary(runs: list[Run]) -> list[float]:
    """Return the medians over the rounds, and the worst of them."""
    last = [max(one.seen) for one in runs]
    return [
        rig.median(rig.median(one.seen) for one in runs),
        rig.median(last),
        max(last),
        rig.median(one.etcd_cpu for one in runs),
        rig.median(one.nodes_cpu for one in runs),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    found = asyncio.run(measure(options.agents, options.processes, options.rounds))
    report(options.agents, options.processes, found)


if __name__ == "__main__":
    main()
