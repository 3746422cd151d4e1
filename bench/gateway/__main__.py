"""What a delivery, a message and a connection cost the gateway, beside hubs in Go and Node.js that do the same work.

    python -m bench.gateway [--rounds N] [--seconds N] [--only NAME,NAME] [--scenarios NAME,NAME]

One server at a time runs beside one load client in C (bench/gateway/load), which counts and checks every delivery by
its number, and reads latencies from times within the frames. Contenders take turns in each round. Processor time is
the server's alone, from /proc; figures are medians over the rounds, ratios against `go` in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
from collections import defaultdict
from collections.abc import Sequence

from bench import rig
from bench.gateway import fleet
from bench.gateway.contenders import Contender, contenders, load_client, running
from bench.gateway.runs import Figures, Scenario, coming_back, under_load
from clusterd.etcd.embedded import EmbeddedEtcd

_PEER = "go"
_ONLY_UNICAST = ("go-sqlite",)
"""What differs from another contender in nothing else."""

SCENARIOS = (
    Scenario("paced-1k", "Broadcast to 1,000 clients, 50 messages/s one by one", "broadcast", 1_000, 50),
    Scenario("paced-10k", "Broadcast to 10,000 clients, 5 messages/s one by one", "broadcast", 10_000, 5),
    Scenario("million", "Broadcast to 1,000 clients, 1,000 messages/s", "broadcast", 1_000, 1_000),
    Scenario("flood", "Broadcast to 1,000 clients, as fast as it goes", "broadcast", 1_000),
    Scenario("unicast", "Unicast among 200 clients, each waiting for the last to be stored", "unicast", 200),
    Scenario("storm", "10,000 clients come back from a node that was killed", "storm", 10_000),
)

# What is shown: a figure's heading, how it is read, and whether a ratio to the peer follows.
COLUMNS: dict[str, tuple[str, float, str]] = {
    "cpu": ("CPU-s per million", 1.0, ".2f"),
    "rate": ("deliveries/s", 1.0, ",.0f"),
    "p50": ("p50 ms", 1e3, ".1f"),
    "p99": ("p99 ms", 1e3, ".1f"),
    "lost": ("lost or late %", 100.0, ".1f"),
    "memory": ("KB per connection", 1 / 1024, ".1f"),
    "accepts": ("connects/s", 1.0, ",.0f"),
    "back": ("s until all are back", 1.0, ".2f"),
    "moved": ("sessions moved/s", 1.0, ",.0f"),
}


async def measure(scenario: Scenario, contender: Contender, load: str, etcd: str, seconds: float) -> Figures:
    """Return the figures of one run."""
    async with running(contender, etcd) as server:
        if scenario.mode != "storm":
            return await under_load(scenario, [server], load, seconds)
        async with running(contender, etcd) as other:
            return await coming_back(scenario, server, other, load, server.child.kill)


def table(title: str, figures: dict[str, list[Figures]], peer: str) -> str:
    """Return a Markdown table: a row for each contender, each figure with its ratio to the peer's."""
    shown = [name for name in COLUMNS if all(name in runs[0] for runs in figures.values())]
    medians = {
        name: {figure: rig.median([run[figure] for run in runs]) for figure in shown} for name, runs in figures.items()
    }
    peers = medians.get(peer, {}) if len(medians) > 1 else {}
    head = ["", *(cell for name in shown for cell in (COLUMNS[name][0], *([f"× {peer}"] if peers else [])))]
    lines = [f"### {title}", "", _row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    lines += [
        _row([name, *(cell for figure in shown for cell in _cells(figure, own, peers))])
        for name, own in medians.items()
    ]
    return "\n".join(lines)


def _cells(figure: str, own: Figures, peers: Figures) -> list[str]:
    _, scale, form = COLUMNS[figure]
    cells = [format(own[figure] * scale, form)]
    if peers:
        cells.append(f"{own[figure] / peers[figure]:.2f}" if peers[figure] else "-")
    return cells


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


async def run(options: argparse.Namespace) -> None:
    """Measure each scenario in rounds, and print its table."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    wanted = (
        options.scenarios.split(",") if options.scenarios else [*(each.name for each in SCENARIOS), *fleet.SCENARIOS]
    )
    field = [each for each in contenders() if not options.only or each.name in options.only.split(",")]
    async with EmbeddedEtcd() as etcd:
        for scenario in SCENARIOS:
            if scenario.name in wanted:
                await compare(scenario, field, etcd.endpoint, options)
        for name in fleet.SCENARIOS:
            if name in wanted:
                await compare_fleets(name, etcd.endpoint, options)


async def compare(scenario: Scenario, field: list[Contender], etcd: str, options: argparse.Namespace) -> None:
    """Measure one load with contenders that take turns, and print its table."""
    load = load_client()
    if scenario.mode != "unicast":
        field = [each for each in field if each.name not in _ONLY_UNICAST]
    figures: dict[str, list[Figures]] = {each.name: [] for each in field}
    for number in range(options.rounds):
        for contender in field[number % len(field) :] + field[: number % len(field)]:
            rig.progress(f"{scenario.name}: round {number + 1} of {options.rounds}, {contender.name}")
            figures[contender.name].append(await measure(scenario, contender, load, etcd, options.seconds))
    print(f"\n{table(scenario.title, figures, _PEER)}", flush=True)


async def compare_fleets(name: str, etcd: str, options: argparse.Namespace) -> None:
    """Measure one load with fleets of the gateway, and print its table."""
    title, measure_fleets = fleet.SCENARIOS[name]
    load = load_client()
    figures: dict[str, list[Figures]] = defaultdict(list)
    for number in range(options.rounds):
        rig.progress(f"{name}: round {number + 1} of {options.rounds}")
        for row, run in (await measure_fleets(load, etcd, options.seconds)).items():
            figures[row].append(run)
    print(f"\n{table(title, figures, next(iter(figures)))}", flush=True)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", default="", help="contenders, joined by commas")
    parser.add_argument("--scenarios", default="", help="scenarios, joined by commas")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
