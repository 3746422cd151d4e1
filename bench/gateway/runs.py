"""One run of the load client against servers, and the figures of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench import rig
from bench.gateway.contenders import Server

Figures = dict[str, float]


@dataclass(frozen=True)
class Scenario:
    """One load: the mode and the arguments of the load client."""

    name: str
    title: str
    mode: str
    clients: int
    rate: float = 0.0

    def command(self, load: str, servers: Sequence[Server], seconds: float, fallback: int = 0) -> list[str]:
        """Return the load client's command; with two servers every other client is at the second one."""
        ports = ",".join(str(server.port) for server in servers)
        return [load, self.mode, ports, str(self.clients), str(seconds), str(self.rate), "128", str(fallback)]


async def under_load(
    scenario: Scenario, taking: Sequence[Server], load: str, seconds: float, others: Sequence[Server] = ()
) -> Figures:
    """Return what a load cost, once all clients were connected to those who take them.

    Processor time and memory are those of all servers together, `others` among them.
    """
    servers = [*taking, *others]
    empty = sum(server.resident for server in servers)
    client = await _start(scenario.command(load, taking, seconds))
    try:
        connected = _connected(await client.heard(), scenario)
        spent = sum(server.cpu for server in servers)
        client.cue()
        done = await client.heard()
        _check(done, scenario)
        return {
            "cpu": (sum(server.cpu for server in servers) - spent) / max(done["delivered"], 1) * 1e6,
            "rate": done["delivered"] / done["seconds"],
            "p50": done["p50"],
            "p99": done["p99"],
            "lost": done["missing"] / (done["delivered"] + done["missing"]),
            "memory": (sum(server.resident for server in servers) - empty) / scenario.clients,
            "accepts": connected,
        }
    finally:
        await client.end()


async def coming_back(
    scenario: Scenario, first: Server, other: Server, load: str, end: Callable[[], Awaitable[object]]
) -> Figures:
    """Return how long all clients of the first server took to be at the other, once `end` has sent them away."""
    client = await _start(scenario.command(load, [first], 0, other.port))
    try:
        connected = _connected(await client.heard(), scenario)
        client.cue()
        await end()
        done = await client.heard()
        assert done["back"] == scenario.clients, f"not all came back: {done}"
        return {"back": done["seconds"], "moved": scenario.clients / done["seconds"], "accepts": connected}
    finally:
        await client.end()


async def _start(command: Sequence[str]) -> rig.Worker:
    pipe = asyncio.subprocess.PIPE
    return rig.Worker(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe))


def _connected(said: Any, scenario: Scenario) -> float:
    assert said["connected"] >= scenario.clients, f"not all were connected: {said}"
    return float(said["connected"] / said["seconds"])


def _check(done: Any, scenario: Scenario) -> None:
    """See that everything arrived, once and in order: a figure of a run that lost something is no figure."""
    for name in ("missing", "gaps", "twice", "refused", "dropped"):
        if done[name]:
            rig.progress(f"  {scenario.name}: {name} {done[name]} of {done['delivered']} deliveries")
