"""A local etcd, three nodes, a service of two, and the router: `python -m examples.router.fleet`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from clusterd.etcd.embedded import EmbeddedEtcd
from clusterd.testing import AgentProcess

_NODE = (sys.executable, "-m", "examples.router.node")
_ROUTER = (sys.executable, "-m", "examples.router")


async def main() -> None:
    """Run until Ctrl-C."""
    async with AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(EmbeddedEtcd())

        async def start(command: tuple[str, ...], *arguments: str) -> str:
            process = AgentProcess(*arguments, "--etcd", etcd.endpoint, command=command)
            await stack.enter_async_context(process)
            return (await process.wait_for_line(r"(?:is at|listening on) (\S+?),?( |$)"))[1]

        service = ("--service", "orders")
        nodes = {"gw-1": (), "gw-2": (), "gw-3": (), "orders-1": service, "orders-2": service}
        addresses = await asyncio.gather(*(start(_NODE, name, "--ttl", "2", *more) for name, more in nodes.items()))
        for name, address in zip(nodes, addresses, strict=True):
            print(f"{name} is at {address}")
        router = await start(_ROUTER, "--listen", "127.0.0.1:0", *sys.argv[1:])
        print(
            f"""
The front door is {router}. Try, from elsewhere:

  curl {router}/hello?user=ada            the node that owns user:ada
  curl {router}/api/orders/42             a node of the service orders
  kill -9 a node, and ask again; Ctrl-C ends all of them.""",
            flush=True,
        )
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print()
