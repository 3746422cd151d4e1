"""A gateway with work that exactly one of the fleet does: `python gateway.py NODE ETCD`.

All gateways run this program. The one that leads the election "rebalancer" runs `rebalance`; when it dies, resigns or
is cut off from etcd, another one does.
"""

from __future__ import annotations

import asyncio
import sys

import clusterd


async def rebalance(node: str, term: clusterd.Term) -> None:
    """Work for as long as this node leads; it is cancelled the moment that isn't certain any more."""
    print(f"{node} leads, with fence {term.fence}", flush=True)
    round_ = 0
    while True:
        round_ += 1
        # etcd refuses this write if the office has passed on, however late it arrives.
        await term.put("/example/rebalanced", f"round {round_} by {node}".encode())
        print(f"{node} did round {round_}", flush=True)
        await asyncio.sleep(0.5)


async def main(node: str, etcd: str) -> None:
    """Be a node of the fleet, and stand for the work."""
    async with clusterd.Agent(node, "127.0.0.1:8080", etcd=etcd, ttl=2) as agent:
        await agent.singleton("rebalancer", lambda term: rebalance(node, term))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
