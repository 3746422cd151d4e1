"""How closely a drain keeps to the pace it was asked for: one agent, on a real etcd, at several rates.

    python -m bench.drain [--seconds S] [--rates N,N]

Each node holds sessions for S seconds at its rate, at most 10,000 of them, and is drained by an intent; the rate is
that from the first move to the last one, with the gateway's handler as fast as a set's `difference_update`.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from datetime import UTC, datetime

from bench import rig
from clusterd import Agent, Drain
from clusterd.drain import make_drain
from clusterd.drain.operator import place_intents
from clusterd.etcd.client import Client
from clusterd.etcd.embedded import EmbeddedEtcd
from clusterd.etcd.options import EtcdOptions
from clusterd.node import NodeState

_MOST_SESSIONS = 10_000


async def drained(endpoint: str, rate: float, seconds: float) -> list[tuple[float, int]]:
    """Drain a node at a rate; return how many sessions moved when."""
    sessions = set(range(min(_MOST_SESSIONS, max(3, round(rate * seconds)))))
    moves: list[tuple[float, int]] = []
    agent = Agent(f"gw-{rate:g}", "10.0.0.1:80", etcd=endpoint)
    agent.sessions.count_with(lambda: len(sessions))

    @agent.on_drain
    async def evacuate(drain: Drain) -> None:
        async for batch in drain.batches(lambda: sessions):
            sessions.difference_update(batch)
            moves.append((time.monotonic(), len(batch)))

    async with agent, Client(EtcdOptions.of(endpoint)) as client:
        intent = make_drain(by="bench", now=datetime.now(UTC), rate=rate, settle=0.2)
        await place_intents(client, rig.KEYS, {agent.node.id: intent})
        while agent.node.state is not NodeState.DRAINED:  # noqa: ASYNC110 - its state is what is to be seen
            await asyncio.sleep(0.05)
    return moves


def row(rate: float, moves: list[tuple[float, int]]) -> tuple[str, ...]:
    """Return the figures of one drain."""
    (first, _), (last, count) = moves[0], moves[-1]
    moved = sum(each for _, each in moves)
    measured = (moved - count) / (last - first)
    return f"{rate:g}", f"{moved:,}", f"{measured:,.2f}", f"{measured / rate - 1:+.1%}", f"{max(c for _, c in moves)}"


async def measure(rates: list[float], seconds: float) -> None:
    """Drain one node after the other, and show how that went."""
    async with EmbeddedEtcd() as etcd:
        rows = []
        for rate in rates:
            rig.progress(f"{rate:g} sessions a second")
            rows.append(row(rate, await drained(etcd.endpoint, rate, seconds)))
    columns = ["asked, a second", "sessions", "measured, a second", "off by", "largest batch"]
    rig.show("The pace of a drain", columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--rates", default="1,10,100,1000,5000")
    options = parser.parse_args()
    asyncio.run(measure([float(rate) for rate in options.rates.split(",")], options.seconds))


if __name__ == "__main__":
    main()
