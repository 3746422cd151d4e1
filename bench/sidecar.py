"""What the daemon's HTTP costs: routes at a fixed rate while streams are open, beside a bare aiohttp handler.

    python -m bench.sidecar [--streams N] [--rate N] [--seconds S] [--rounds N] [--nodes N] [--change labels|weight]

Both servers, and who listens to the streams, are processes of their own; the servers are asked in turn, by raw sockets
at a fixed rate. The daemon has all its streams open meanwhile, and a node of its fleet changes once a second, which
every stream is told. The bare handler has neither: it parses the key and answers a document of the same size. A change
of a weight moves slots, so that the daemon works out anew which nodes each key falls back on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import rig
from bench.load import Load
from clusterd import EtcdOptions
from clusterd.aio import beside
from clusterd.etcd.client import Client
from clusterd.etcd.embedded import EmbeddedEtcd
from clusterd.node import encode_node
from clusterd.testing import AgentProcess

_KEYS = 10_000
_SIDES = ("daemon", "bare")


@dataclass
class Side:
    """What was seen of one server: seconds for each request, and processor seconds for all of them."""

    took: list[float] = field(default_factory=list)
    cpu: float = 0.0


@dataclass
class Found:
    """What was measured; `told` has the seconds from a put until the last stream had the change; memory in bytes."""

    sides: dict[str, Side] = field(default_factory=lambda: {side: Side() for side in _SIDES})
    told: list[float] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)


def requests(count: int) -> list[bytes]:
    """Return requests for the routes of so many keys, owner and two fallbacks."""
    return [f"GET /v1/route?key=user-{i}&n=3 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for i in range(count)]


class Yard:
    """One etcd with a fleet, the daemon, and the bare handler."""

    def __init__(self, client: Client, daemon: AgentProcess, ports: dict[str, tuple[int, int]]) -> None:
        self.client = client
        self.daemon = daemon
        self.ports = ports

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, nodes: int) -> AsyncIterator[Yard]:
        """Have all that is measured running."""
        async with contextlib.AsyncExitStack() as stack:
            etcd = await stack.enter_async_context(EmbeddedEtcd())
            client = await stack.enter_async_context(Client(EtcdOptions.of(etcd.endpoint)))
            await rig.register(client, nodes)
            flags = ("--node", "bench", "--address", "h:1", "--etcd", etcd.endpoint, "--control", "127.0.0.1:0")
            daemon = await stack.enter_async_context(AgentProcess(*flags))
            (bare,) = await stack.enter_async_context(rig.workers(("peers", "serve")))
            port = int((await daemon.wait_for_line(r"^control .*:(\d+)$"))[1])
            await daemon.wait_for_line("registered at")
            yield cls(client, daemon, {"daemon": (port, daemon.pid), "bare": (await bare.heard(), bare.pid)})

    async def ask(self, side: str, options: argparse.Namespace, found: Found) -> None:
        """Ask one of the servers for so many seconds, and note what that took."""
        port, pid = self.ports[side]
        load, before = Load(port, requests(_KEYS)), rig.cpu_seconds(pid)
        await load.run(options.rate, options.seconds)
        found.sides[side].cpu += rig.cpu_seconds(pid) - before
        found.sides[side].took += load.took

    async def change(self, streams: rig.Worker, told: list[float], field: str) -> None:
        """Change a node once a second, and note how long it took until the last stream had it; for ever."""
        for number in itertools.count(1):
            value = encode_node(rig.node(0, **{field: {"version": str(number)} if field == "labels" else number}))
            sent = time.monotonic()
            await self.client.put(rig.KEYS.node(rig.node(0).id), value)
            told.append(await streams.heard() - sent)
            await asyncio.sleep(1.0)


async def measure(options: argparse.Namespace) -> Found:
    """Ask both servers in turn."""
    found = Found()
    async with Yard.open(options.nodes) as yard:
        found.memory["alone"] = resident(yard.daemon.pid)
        for number in range(options.rounds):
            rig.progress(f"round {number + 1} of {options.rounds}")
            for side in _SIDES if number % 2 else _SIDES[::-1]:
                await one_turn(yard, side, options, found)
    return found


async def one_turn(yard: Yard, side: str, options: argparse.Namespace, found: Found) -> None:
    """Let one of the servers have its turn, the daemon with its streams open."""
    if side == "bare":
        await yard.ask(side, options, found)
        return
    await yard.ask("daemon", options, Found())  # so that what is kept of routes is there, as in a gateway that runs
    async with rig.workers(("load", yard.ports["daemon"][0], options.streams)) as (streams,):
        async with beside(yard.change(streams, found.told, options.change), name="bench changes"):
            await yard.ask(side, options, found)
        found.memory["streams"] = max(found.memory.get("streams", 0), resident(yard.daemon.pid))


def resident(pid: int) -> int:
    """Return a process's resident memory in bytes (Linux)."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def report(options: argparse.Namespace, found: Found) -> None:
    def figures(side: Side) -> list[float]:
        return [*(rig.quantile(side.took, share) for share in (0.5, 0.99)), side.cpu / len(side.took)]

    bare = figures(found.sides["bare"])
    rows = [
        (name, *itertools.chain.from_iterable((rig.ms(q), f"{q / b:.2f}×") for q, b in zip(of, bare, strict=True)))
        for name, of in ((name, figures(found.sides[name])) for name in _SIDES)
    ]
    title = f"/v1/route at {options.rate:g} requests/s, {options.streams:,} streams, {options.nodes} nodes"
    rig.show(title, ["", "p50", "of bare", "p99", "of bare", "CPU, each", "of bare"], rows)
    told = ", ".join(f"{name} {rig.ms(rig.quantile(found.told, share))}" for name, share in (("p50", 0.5), ("max", 1)))
    print(f"From a put until the last of the streams has the change: {told} ({len(found.told)} changes)")
    for name, size in found.memory.items():
        print(f"Resident memory of the daemon, {name}: {size / 2**20:.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2000.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--change", choices=("labels", "weight"), default="labels")
    options = parser.parse_args()
    report(options, asyncio.run(measure(options)))


if __name__ == "__main__":
    main()
