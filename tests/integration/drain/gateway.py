"""A gateway as a process of its own: so many sessions, moved when asked, and told of on stdout.

python gateway.py NODE ETCD SESSIONS [TTL]
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from clusterd import Agent, Drain


async def main(node: str, etcd: str, count: int, ttl: int = 2) -> None:
    agent = Agent(node, "10.0.0.1:8080", etcd=etcd, ttl=ttl)
    sessions = set(range(count))
    agent.sessions.count_with(lambda: len(sessions))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    @agent.on_drain
    async def evacuate(drain: Drain) -> None:
        print(f"drain by {drain.by} {drain.reason}", flush=True)
        async for batch in drain.batches(lambda: sessions):
            sessions.difference_update(batch)
            print(f"moved {len(batch)} left {len(sessions)}", flush=True)

    async with agent:
        print(f"entered {agent.node.state}", flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await stop.wait()
        progress = await agent.drain(rate=100.0, deadline=5.0)
        print(f"ended {progress.phase} moved {progress.moved} left {progress.left}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3], *map(int, sys.argv[3:])))
