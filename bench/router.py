"""The router's strategies under load, beside a bare aiohttp proxy: balance, latency, requests a second.

    python -m bench.router [--rounds N] [--seconds N] [--clients N]

Four nodes with weights 100, 100, 100 and 300, one of which needs 20 ms for an answer, the others 2 ms. Clients ask for
random users, each waiting for its answer, without pause. Contenders take turns in each round; figures are medians. The
bare proxy passes requests to the nodes in turns, with aiohttp's server and client and nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from bench import rig
from clusterd.etcd.embedded import EmbeddedEtcd
from clusterd.testing import AgentProcess
from examples.router.settings import STRATEGIES

_NODE = (sys.executable, "-m", "examples.router.node")
_ROUTER = (sys.executable, "-m", "examples.router")
_BARE = (sys.executable, "-m", "bench.router", "--bare")
_WEIGHTS = (100, 100, 100, 300)
_SLOW, _SLOW_SECONDS, _FAST_SECONDS = "gw-1", 0.02, 0.002
_START_SECONDS = 60.0


@dataclass
class Run:
    """What one contender did in one round."""

    seconds: float
    cpu: float
    latencies: list[float]
    by_node: Counter[str]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    @property
    def spread(self) -> float:
        """The most loaded node's requests against what its weight says: 1 is even."""
        total, weights = self.by_node.total(), sum(_WEIGHTS)
        fair = {f"gw-{number + 1}": total * weight / weights for number, weight in enumerate(_WEIGHTS)}
        return max(self.by_node[name] / share for name, share in fair.items())


@contextlib.asynccontextmanager
async def fleet() -> AsyncIterator[tuple[dict[str, str], dict[str, AgentProcess]]]:
    """Have an etcd, the nodes, and all contenders: yields the contenders' URLs and processes by name."""
    async with contextlib.AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(EmbeddedEtcd())

        async def start(command: tuple[str, ...], *arguments: str) -> tuple[AgentProcess, str]:
            process = await stack.enter_async_context(AgentProcess(*arguments, command=command))
            line = await process.wait_for_line(r"(?:is at|listening on) ([\w:/.]+)", timeout=_START_SECONDS)
            return process, line[1]

        nodes = []
        for number, weight in enumerate(_WEIGHTS):
            delay = _SLOW_SECONDS if f"gw-{number + 1}" == _SLOW else _FAST_SECONDS
            options = ("--etcd", etcd.endpoint, "--weight", str(weight), "--delay", str(delay))
            nodes.append((await start(_NODE, f"gw-{number + 1}", *options))[1])
        commands = {"bare proxy": (_BARE, *nodes)} | {
            name: (_ROUTER, "--listen", "127.0.0.1:0", "--etcd", etcd.endpoint, "--strategy", name)
            for name in STRATEGIES
        }
        started = {name: await start(*command) for name, command in commands.items()}
        yield {name: url for name, (_, url) in started.items()}, {name: each for name, (each, _) in started.items()}


async def load(url: str, pid: int, clients: int, seconds: float) -> Run:
    """Ask for so many seconds, and return what came back."""
    run = Run(0.0, 0.0, [], Counter())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask() -> None:
            while time.monotonic() < until:
                started = time.monotonic()
                async with session.get(f"{url}/?user={random.randrange(1 << 30)}") as answer:
                    assert answer.status == 200, await answer.text()
                    run.by_node[(await answer.json())["node"]] += 1
                run.latencies.append(time.monotonic() - started)

        spent, began = rig.cpu_seconds(pid), time.monotonic()
        until = began + seconds
        async with asyncio.TaskGroup() as tasks:
            for number in range(clients):
                tasks.create_task(ask(), name=f"bench client {number}")
        run.seconds, run.cpu = time.monotonic() - began, rig.cpu_seconds(pid) - spent
    return run


async def measure(rounds: int, seconds: float, clients: int) -> dict[str, list[Run]]:
    """Return every run, by contender."""
    found: dict[str, list[Run]] = defaultdict(list)
    async with fleet() as (urls, processes):
        names = list(urls)
        for number in range(rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                rig.progress(f"round {number + 1} of {rounds}: {name}")
                found[name].append(await load(urls[name], processes[name].pid, clients, seconds))
    return {name: found[name] for name in names}


def report(found: dict[str, list[Run]], clients: int) -> None:
    """Print the table."""
    bare = found["bare proxy"]
    cpu_of = {name: rig.median([run.cpu / len(run.latencies) for run in runs]) for name, runs in found.items()}
    rows = []
    for name, runs in found.items():
        p50, p99 = ([rig.quantile(run.latencies, share) for run in runs] for share in (0.5, 0.99))
        slow = rig.median([run.by_node[_SLOW] / run.by_node.total() for run in runs])
        rate = rig.median([run.rate for run in runs])
        rows.append(
            (
                name,
                f"{rate:,.0f}",
                f"{rate / rig.median([run.rate for run in bare]):.2f}×",
                f"{cpu_of[name] * 1e6:,.0f} µs",
                f"{cpu_of[name] / cpu_of['bare proxy']:.2f}×",
                rig.ms(rig.median(p50)),
                rig.ms(rig.median(p99)),
                f"{rig.median([run.spread for run in runs]):.2f}",
                f"{slow:.0%}",
            )
        )
    rig.show(
        f"The front door, {clients} clients, four nodes",
        ["", "requests/s", "of bare", "CPU each", "of bare", "p50", "p99", "most over weight", "to slow"],
        rows,
        "most over weight: the most loaded node's requests against its fair share; 1 is even.",
        "to slow: the share of requests that the slow node got; it has 17 % of the weight.",
    )


async def be_bare(nodes: list[str]) -> None:
    """Be the bare proxy, until killed."""
    turns = itertools.cycle(nodes)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as session:

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            async with session.request(
                request.method, f"http://{next(turns)}{request.raw_path}", headers=request.headers
            ) as answer:
                headers = {name: value for name, value in answer.headers.items() if name != "Connection"}
                return web.Response(status=answer.status, headers=headers, body=await answer.read())

        runner = web.ServerRunner(web.Server(handle, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        host, port = runner.addresses[0][:2]
        print(f"listening on http://{host}:{port}", flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--bare", nargs="+", default=[], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        asyncio.run(be_bare(options.bare))
    else:
        report(asyncio.run(measure(options.rounds, options.seconds, options.clients)), options.clients)


if __name__ == "__main__":
    main()
