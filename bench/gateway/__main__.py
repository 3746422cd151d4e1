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
from dataclasses import dataclass
from typing import Any

from bench import rig
from bench.gateway.contenders import Contender, Server, contenders, load_client, running
from clusterd.etcd.embedded import EmbeddedEtcd

_PEER = "go"
Figures = dict[str, float]


@dataclass(frozen=True)
class Scenario:
    """One load: the mode and the arguments of the load client."""

    name: str
    title: str
    mode: str
    clients: int
    rate: float = 0.0

    def command(self, load: str, port: int, seconds: float, fallback: int) -> list[str]:
        """Return the load client's command."""
        return [load, self.mode, str(port), str(self.clients), str(seconds), str(self.rate), "128", str(fallback)]


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
    "p99": ("p99 ms", 1e3, ".1f"),
    "lost": ("lost or late %", 100.0, ".1f"),
    "memory": ("KB per connection", 1 / 1024, ".1f"),
    "accepts": ("connects/s", 1.0, ",.0f"),
    "back": ("s until all are back", 1.0, ".2f"),
}


async def measure(scenario: Scenario, contender: Contender, load: str, etcd: str, seconds: float) -> Figures:
    """Return the figures of one run."""
    async with running(contender, etcd) as server:
        if scenario.mode != "storm":
            return await _under_load(scenario, server, load, seconds)
        async with running(contender, etcd) as other:
            return await _storm(scenario, server, other, load, seconds)


async def _under_load(scenario: Scenario, server: Server, load: str, seconds: float) -> Figures:
    empty = server.resident
    client = await _start(scenario.command(load, server.port, seconds, server.port))
    try:
        connected = _connected(await client.heard(), scenario)
        spent = server.cpu
        client.cue()
        done = await client.heard()
        _check(done, scenario)
        return {
            "cpu": (server.cpu - spent) / max(done["delivered"], 1) * 1e6,
            "rate": done["delivered"] / done["seconds"],
            "p99": done["p99"],
            "lost": done["missing"] / (done["delivered"] + done["missing"]),
            "memory": (server.resident - empty) / scenario.clients,
            "accepts": connected,
        }
    finally:
        await client.end()


async def _storm(scenario: Scenario, first: Server, other: Server, load: str, seconds: float) -> Figures:
    client = await _start(scenario.command(load, first.port, seconds, other.port))
    try:
        connected = _connected(await client.heard(), scenario)
        client.cue()
        await first.child.kill()
        done = await client.heard()
        assert done["back"] == scenario.clients, f"not all came back: {done}"
        return {"back": done["seconds"], "accepts": connected}
    finally:
        await client.end()


async def _start(command: Sequence[str]) -> rig.Worker:
    pipe = asyncio.subprocess.PIPE
    return rig.Worker(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))


def _connected(said: Any, scenario: Scenario) -> float:
    assert said["connected"] >= scenario.clients, f"not all were connected: {said}"
    return float(said["connected"] / said["seconds"])


def _check(done: Any, scenario: Scenario) -> None:
    """See that everything arrived, once and in order: a figure of a run that lost something is no figure."""
    for name in ("missing", "gaps", "twice", "refused", "dropped"):
        if done[name]:
            rig.progress(f"  {scenario.name}: {name} {done[name]} of {done['delivered']} deliveries")


def table(scenario: Scenario, figures: dict[str, list[Figures]]) -> str:
    """Return a Markdown table: a row for each contender, each figure with its ratio to the peer's."""
    shown = [name for name in COLUMNS if all(name in runs[0] for runs in figures.values())]
    head = ["", *(cell for name in shown for cell in (COLUMNS[name][0], f"× {_PEER}"))]
    medians = {
        name: {figure: rig.median([run[figure] for run in runs]) for figure in shown} for name, runs in figures.items()
    }
    lines = [f"### {scenario.title}", "", _row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    lines += [_row([name, *_cells(medians, name, shown)]) for name in figures]
    return "\n".join(lines)


def _cells(medians: dict[str, Figures], name: str, shown: Sequence[str]) -> list[str]:
    cells = []
    for figure in shown:
        value, peer = medians[name][figure], medians.get(_PEER, {}).get(figure)
        _, scale, form = COLUMNS[figure]
        cells += [format(value * scale, form), f"{value / peer:.2f}" if peer else "-"]
    return cells


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


async def run(options: argparse.Namespace) -> None:
    """Measure each scenario in rounds, and print its table."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    load = load_client()
    field = [each for each in contenders() if not options.only or each.name in options.only.split(",")]
    async with EmbeddedEtcd() as etcd:
        for scenario in SCENARIOS:
            if options.scenarios and scenario.name not in options.scenarios.split(","):
                continue
            figures: dict[str, list[Figures]] = defaultdict(list)
            for number in range(options.rounds):
                for contender in field[number % len(field) :] + field[: number % len(field)]:
                    rig.progress(f"{scenario.name}: round {number + 1} of {options.rounds}, {contender.name}")
                    run = await measure(scenario, contender, load, etcd.endpoint, options.seconds)
                    figures[contender.name].append(run)
            print(f"\n{table(scenario, {each.name: figures[each.name] for each in field})}", flush=True)


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
