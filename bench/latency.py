"""How long a change takes from the put to `agent.changes()`, beside a bare aiohttp watch that json.loads each line.

    python -m bench.latency [--nodes N,N] [--puts N] [--rounds N]

Agent and bare watch run in a process each and see the same puts of one etcd, which a third process makes at random
times. The clock is the machine's monotonic one. Who connects first is swapped each round.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import random
import time
from collections.abc import Iterable
from itertools import chain

import aiohttp

from bench import rig
from clusterd import EtcdOptions
from clusterd.etcd.client import Client
from clusterd.etcd.embedded import EmbeddedEtcd
from clusterd.node import encode_node

_SIDES = ("agents", "peers")
_PAUSE_SECONDS = 0.02


async def measure(nodes: int, puts: int, rounds: int) -> dict[str, list[float]]:
    """Return every latency seen, by side."""
    found: dict[str, list[float]] = {side: [] for side in _SIDES}
    async with EmbeddedEtcd() as etcd, Client(EtcdOptions.of(etcd.endpoint)) as client:
        await rig.register(client, nodes)
        for number in range(rounds):
            rig.progress(f"{nodes} nodes: round {number + 1} of {rounds}")
            order = _SIDES if number % 2 else _SIDES[::-1]
            async with rig.workers(*((side, "watch", etcd.endpoint) for side in order)) as watchers:
                sent = await put_all(etcd.endpoint, nodes, puts)
                await asyncio.sleep(1.0)
                for side, watcher in zip(order, watchers, strict=True):
                    watcher.cue()
                    found[side] += latencies(sent, await watcher.heard())
    return found


async def put_all(url: str, nodes: int, puts: int) -> dict[int, float]:
    """Change one node after another, and return when each change was sent, by the revision that it got."""
    sent: dict[int, float] = {}
    async with aiohttp.ClientSession() as session:
        for number in range(puts):
            await asyncio.sleep(random.expovariate(1 / _PAUSE_SECONDS))
            changed = rig.node(random.randrange(nodes), weight=number + 1)
            body = {"key": coded(rig.KEYS.node(changed.id)), "value": coded(encode_node(changed))}
            started = time.monotonic()
            async with session.post(f"{url}/v3/kv/put", json=body) as response:
                sent[int((await response.json())["header"]["revision"])] = started
    return sent


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def latencies(sent: dict[int, float], arrived: Iterable[tuple[int, float]]) -> list[float]:
    """Return the latency of each put; one that came together with later ones arrived when those did."""
    waiting = sorted(sent)
    took = []
    for revision, at in arrived:
        while waiting and waiting[0] <= revision:
            took.append(at - sent[waiting.pop(0)])
    assert not waiting, f"{len(waiting)} changes never arrived"
    return took


def report(nodes: int, found: dict[str, list[float]]) -> None:
    names = {"agents": "clusterd, agent.changes()", "peers": "bare aiohttp watch + json.loads"}
    at = {side: [rig.quantile(values, share) for share in (0.5, 0.99)] for side, values in found.items()}
    rows = [
        (names[side], *chain.from_iterable((rig.ms(q), f"{q / bare:.2f}×") for q, bare in pairs))
        for side in _SIDES
        for pairs in [list(zip(at[side], at["peers"], strict=True))]
    ]
    puts = len(found["agents"])
    rig.show(f"From a put to the change, {nodes} nodes, {puts:,} puts", ["", "p50", "of bare", "p99", "of bare"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="100,1000")
    parser.add_argument("--puts", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    for nodes in map(int, options.nodes.split(",")):
        report(nodes, asyncio.run(measure(nodes, options.puts, options.rounds)))


if __name__ == "__main__":
    main()
