"""A local etcd, three gateways, and one that is killed at its work: `python examples/singleton/fleet.py`."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from clusterd.etcd.embedded import EmbeddedEtcd
from clusterd.testing import AgentProcess

GATEWAY = (sys.executable, os.fspath(Path(__file__).with_name("gateway.py")))


async def leader_of(gateways: dict[str, AgentProcess]) -> str:
    """Wait until one of the gateways works, and return its name."""
    waits = [asyncio.create_task(process.wait_for_line(r"(\S+) did round 2")) for process in gateways.values()]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        match: re.Match[str] = done.pop().result()
        return match[1]
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


async def main() -> None:
    """Show that the work runs on one gateway, and goes on when that is killed."""
    async with AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(EmbeddedEtcd())
        gateways = {
            name: await stack.enter_async_context(AgentProcess(name, etcd.endpoint, command=GATEWAY))
            for name in ("gw-1", "gw-2", "gw-3")
        }
        while len(gateways) > 1:
            leader = await leader_of(gateways)
            print("\n".join(gateways[leader].stdout))
            print(f"-- {leader} is killed; the next one works once its lease has lapsed")
            await gateways.pop(leader).kill()
        (last,) = gateways.values()
        await leader_of(gateways)
        print("\n".join(last.stdout))


if __name__ == "__main__":
    asyncio.run(main())
