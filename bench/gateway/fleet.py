"""What it costs that the gateway is more than one node: a hop to the keeper, a drain, two processes in place of one."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp

from bench.gateway.contenders import Contender, Server, gateway_node, running
from bench.gateway.runs import Figures, Scenario, coming_back, under_load

_LINK_SECONDS = 30.0
_prefixes = itertools.count(1)

Measure = Callable[[str, str, float], Awaitable[dict[str, Figures]]]
"""Given the load client, an etcd and seconds: rows of figures, which are compared with the first one."""


async def hop(load: str, etcd: str, seconds: float) -> dict[str, Figures]:
    """Compare clients that are connected to the keeper of all mailboxes with such that are at the other node."""
    return {
        "at the keeper": await _unicast_at_first(load, etcd, seconds, 100, 0),
        "one hop away": await _unicast_at_first(load, etcd, seconds, 0, 100),
    }


async def _unicast_at_first(load: str, etcd: str, seconds: float, *weights: int) -> Figures:
    async with nodes(etcd, *weights) as (first, other):
        figures = await under_load(Scenario("hop", "", "unicast", 20), [first], load, seconds, [other])
        return _some(figures, "cpu", "rate", "p50", "p99")


async def rooms(load: str, etcd: str, seconds: float) -> dict[str, Figures]:
    """Compare one node with two that have half of the members of a room each."""
    return await _one_and_two(Scenario("rooms", "", "broadcast", 1_000), load, etcd, seconds)


async def mailboxes(load: str, etcd: str, seconds: float) -> dict[str, Figures]:
    """Compare one node with two that have half of the users each, who write to users at the other node."""
    return await _one_and_two(Scenario("mailboxes", "", "unicast", 200), load, etcd, seconds)


async def _one_and_two(scenario: Scenario, load: str, etcd: str, seconds: float) -> dict[str, Figures]:
    rows = {}
    for name, weights in (("one node", [100]), ("two nodes", [100, 100])):
        async with nodes(etcd, *weights) as servers:
            rows[name] = _some(await under_load(scenario, servers, load, seconds), "cpu", "rate", "p99")
    return rows


def _some(figures: Figures, *names: str) -> Figures:
    return {name: figures[name] for name in names}


async def drain(load: str, etcd: str, _: float) -> dict[str, Figures]:
    """Drain a node with 5,000 clients, without a pace; each comes back at once, to the other node."""
    prefix = f"/bench-fleet-{next(_prefixes)}/"
    async with nodes(etcd, 100, 100, prefix=prefix) as (first, other):

        async def order() -> None:
            command = ("-m", "clusterctl", "--endpoints", etcd, "--prefix", prefix, "drain", "gw-0", "-y", "--detach")
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, *command, "--settle", "0s", "--deadline", "60s"),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            _, said = await process.communicate()
            assert process.returncode == 0, said.decode()

        return {"drain": await coming_back(Scenario("drain", "", "storm", 5_000), first, other, load, order)}


@contextlib.asynccontextmanager
async def nodes(etcd: str, *weights: int, prefix: str = "") -> AsyncIterator[list[Server]]:
    """Run gateway nodes of these weights while the body does; they have links to each other by then."""
    prefix = prefix or f"/bench-fleet-{next(_prefixes)}/"
    async with contextlib.AsyncExitStack() as stack:
        servers = []
        for number, weight in enumerate(weights):
            node = gateway_node(f"gw-{number}", prefix, weight)
            servers.append(await stack.enter_async_context(running(Contender(f"gw-{number}", node), etcd)))
        async with aiohttp.ClientSession() as http, asyncio.timeout(_LINK_SECONDS):
            for server in servers:
                while not await _is_linked(http, server, len(servers)):  # noqa: ASYNC110 - another process does it
                    await asyncio.sleep(0.05)
        yield servers


async def _is_linked(http: aiohttp.ClientSession, server: Server, count: int) -> bool:
    async with http.get(f"http://127.0.0.1:{server.port}/stats") as answer:
        stats = await answer.json()
        return len(stats["links"]) == count and stats["gate"] == "open"


SCENARIOS: dict[str, tuple[str, Measure]] = {
    "hop": ("Two nodes: unicast among 20 clients that are at the keeper, or one hop away", hop),
    "drain": ("Two nodes: `clusterctl drain` of one with 5,000 clients, without a pace", drain),
    "rooms": ("Broadcast to 1,000 clients as fast as it goes, at one node or half of them at each of two", rooms),
    "mailboxes": ("Unicast among 200 clients, at one node or half of them at each of two", mailboxes),
}
