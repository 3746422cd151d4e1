"""A local etcd, three Node.js gateways each with its sidecar, and clients: `python examples/sidecar-node/fleet.py`."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from clusterd.errors import ClusterdError
from clusterd.etcd.embedded import EmbeddedEtcd
from clusterd.testing import AgentProcess, eventually

HERE = Path(__file__).parent
CLUSTERCTL = (sys.executable, "-m", "clusterctl")
USERS = 30


@dataclass
class Pod:
    """A gateway and the sidecar beside it."""

    gateway: AgentProcess
    sidecar: AgentProcess
    url: str


class Clients:
    """Users who stay connected: each is wherever the fleet sends it, and comes back when its session is closed."""

    def __init__(self, http: aiohttp.ClientSession, pods: dict[str, Pod]) -> None:
        self._http = http
        self._pods = pods
        self.at: dict[str, str] = {}

    async def stay(self, user: str) -> None:
        """Be connected, for ever."""
        while True:
            for pod in list(self._pods.values()):
                try:
                    await self._connect(user, f"{pod.url}/{user}")
                except (aiohttp.ClientError, OSError, TimeoutError):
                    pass
                finally:
                    self.at.pop(user, None)
                await asyncio.sleep(0.05)

    async def _connect(self, user: str, url: str) -> None:
        async with asyncio.timeout(3):
            socket = await self._http.ws_connect(url)
        async with socket:
            await socket.send_str("hello")
            async for message in socket:
                self.at[user] = message.data.split()[0]

    async def all_connected(self, *, without: str = "") -> None:
        """Wait until everybody has a session, none of them at `without`."""

        async def look() -> bool:
            return len(self.at) == USERS and without not in self.at.values()

        await eventually(look, timeout=30, what=f"all {USERS} clients connected")


async def start_pod(stack: AsyncExitStack, name: str, etcd: str, directory: str) -> Pod:
    """Start a gateway, and its sidecar, which the gateway waits for."""
    control = f"{directory}/{name}.sock"
    command = ("node", os.fspath(HERE / "gateway.js"), name, control)
    gateway = await stack.enter_async_context(AgentProcess(command=command))
    address = (await gateway.wait_for_line(r"listens at (\S+)", 20))[1]
    sidecar = await stack.enter_async_context(
        AgentProcess(
            *("--node", name, "--address", address, "--etcd", etcd, "--ttl", "2", "--control", f"unix:{control}")
        )
    )
    await sidecar.wait_for_line("is registered at", 20)
    return Pod(gateway, sidecar, f"ws://{address}")


async def leader_among(pods: dict[str, Pod], *, not_any_more: str = "") -> str:
    """Wait until one of the gateways leads and works, and return its name."""

    def leads(name: str) -> bool:
        lines = [line for line in pods[name].gateway.stdout if "lead" in line or "round" in line]
        return name != not_any_more and bool(lines) and "round" in lines[-1]

    async def look() -> str:
        return next((name for name in pods if leads(name)), "")

    return await eventually(look, timeout=30, what="a gateway that leads")


def tell(clients: Clients) -> None:
    """Print who has how many clients."""
    shares = {name: list(clients.at.values()).count(name) for name in sorted(set(clients.at.values()))}
    print("clients:", ", ".join(f"{count} at {name}" for name, count in shares.items()), flush=True)


async def drain(leader: str, etcd: str) -> None:
    """Drain a gateway as an operator does."""
    print(f"-- {leader} leads, and is drained by its operator")
    command = ("--endpoints", etcd, "drain", leader, "--rate", "20/s", "--settle", "0.5s", "-m", "new kernel", "-y")
    async with AgentProcess(*command, command=CLUSTERCTL) as operator:
        code = await operator.wait(60)
    print("\n".join(operator.stdout[-1:]), flush=True)
    if code:
        raise SystemExit(f"the drain ended with exit code {code}: {operator.lines}")


async def main() -> None:
    """Show clients that are routed, a drain that loses nobody, and work that passes on."""
    async with AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(EmbeddedEtcd())
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        names = ("gw-1", "gw-2", "gw-3")
        pods = {name: await start_pod(stack, name, etcd.endpoint, directory) for name in names}
        http = await stack.enter_async_context(aiohttp.ClientSession())
        clients, users = Clients(http, pods), await stack.enter_async_context(asyncio.TaskGroup())
        staying = [users.create_task(clients.stay(f"user-{number}")) for number in range(USERS)]

        await clients.all_connected()
        tell(clients)
        first = await leader_among(pods)
        await drain(first, etcd.endpoint)
        await clients.all_connected(without=first)
        tell(clients)
        second = await leader_among(pods, not_any_more=first)

        print(f"-- {second} leads now; its gateway is killed, and its sidecar resigns at once")
        await pods[second].gateway.kill()
        third = await leader_among({name: pod for name, pod in pods.items() if name != second}, not_any_more=first)
        print(f"-- {third} leads now; the rest of {second} is killed too")
        await pods.pop(second).sidecar.kill()
        await clients.all_connected(without=second)
        tell(clients)
        print("all held", flush=True)
        for user in staying:
            user.cancel()


def run() -> None:
    """Run it; what goes wrong is a line on stderr."""
    if shutil.which("node") is None:
        raise SystemExit("there is no node on PATH: install Node.js 18 or newer")
    try:
        asyncio.run(main())
    except* (ClusterdError, AssertionError) as failed:
        raise SystemExit(f"not shown: {leaves(failed)[0]}") from None
    except* KeyboardInterrupt:
        raise SystemExit(130) from None


def leaves(group: BaseExceptionGroup) -> list[BaseException]:
    """Return the errors that groups of groups are made of."""
    return [leaf for error in group.exceptions for leaf in (leaves(error) if hasattr(error, "exceptions") else [error])]


if __name__ == "__main__":
    run()
