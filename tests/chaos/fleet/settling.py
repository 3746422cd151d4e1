"""What must be the case once faults have stopped: all agents agree on what etcd has, and nothing is left behind."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp

from clusterd import Topology
from clusterd.drain.intent import Intent
from clusterd.testing import AdminError
from clusterd.testing.recording import digest_content, digest_routes
from tests.chaos.fleet.host import Host
from tests.chaos.fleet.operators import REFUSALS, Operators, obeyed
from tests.chaos.fleet.stage import Stage, now

T = TypeVar("T")

_LOOK_SECONDS = 0.3
_FILES_BEFORE = 30
_OWN_TASKS = 2  # of a worker without agents: the one that obeys, and the one that watches for lag


class Settling:
    """Waits until the fleet is as it is to be, within the plan's bound."""

    def __init__(self, stage: Stage, operators: Operators) -> None:
        self._stage = stage
        self._operators = operators

    async def settle(self, after: str) -> tuple[float, int]:
        """Return the seconds that it took, and the median memory of the processes with several agents.

        Where it takes longer than the bound, what is still not right is recorded as a violation.
        """
        since, bound = now(), self._stage.plan.bound
        await self._stage.revive()
        intents = await self.patiently(self._operators.reconcile)
        routes = False  # these are compared when all else is right: they are dear
        while True:
            reports = {host: await host.report(routes=routes) for host in self._stage.hosts}
            wrong = await self._wrong(reports, intents)
            if routes and not wrong:
                break
            routes = not wrong
            if now() > since + bound:
                self._stage.violation("the fleet", f"{bound:g} s after {after}: {'; '.join(wrong[:5])}")
                break
            await asyncio.sleep(0.0 if routes else _LOOK_SECONDS)
        self._stage.recorder.note("settled", after, seconds=now() - since)
        return now() - since, _memory(reports)

    async def patiently(self, action: Callable[[], Awaitable[T]]) -> T:
        """Do it until etcd lets it happen: nothing is broken on purpose any more."""
        while True:
            try:
                return await action()
            except REFUSALS:
                await asyncio.sleep(_LOOK_SECONDS)

    async def _wrong(self, reports: dict[Host, dict[str, Any]], intents: dict[str, Intent]) -> list[str]:
        try:
            fresh = await self._stage.fresh()
        except (AdminError, aiohttp.ClientError, TimeoutError) as error:
            return [f"etcd can't be listed: {error}"]
        return [*_etcd_wrong(fresh, self._stage.wanted, intents), *_agents_wrong(fresh, reports)]


def _etcd_wrong(fresh: Topology, wanted: set[str], intents: dict[str, Intent]) -> list[str]:
    """Return what a fresh list shows that isn't as it is to be."""
    wrong = [f"{node} is not registered" for node in sorted(wanted - set(fresh.nodes))]
    wrong += [f"{node} is still registered" for node in sorted(set(fresh.nodes) - wanted)]
    for node in fresh:
        if node.foreign or not obeyed(node.state, intents.get(node.id)):
            wrong.append(f"{node.id} is {node.state}{' and foreign' if node.foreign else ''}")
    return wrong


def _agents_wrong(fresh: Topology, reports: dict[Host, dict[str, Any]]) -> list[str]:
    """Return the agents that don't show what the fresh list does."""
    content, routes, wrong = digest_content(fresh), digest_routes(fresh), []
    for host, report in reports.items():
        agents = report["agents"]
        wrong += [f"{node} does not run" for node in sorted(host.wanted - agents.keys())]
        for node, told in agents.items():
            if told["content"] != content or told["unconfirmed"]:
                wrong.append(f"{node} sees other nodes, at revision {told['revision']}")
            elif told["routes"] not in ("", routes):
                wrong.append(f"{node} routes otherwise, at revision {told['revision']}")
            elif told["stale"] or told["session"] != "connected":
                wrong.append(f"{node} is {told['session']}{', stale' if told['stale'] else ''}")
    return wrong


def _memory(reports: dict[Host, dict[str, Any]]) -> int:
    used = [report["memory"] for host, report in reports.items() if len(host.nodes) > 1]
    return round(statistics.median(used or [0]))


async def leave(stage: Stage) -> None:
    """Let all agents leave, and see that nothing of them is left: no task, no file, no key, no lease, no process."""
    for host in stage.hosts:
        host.wanted.clear()
        host.tell()
    await _await_quiet(stage)
    for host in stage.hosts:
        if code := await host.end():
            stage.violation(host.name, f"it ended with code {code}: {host.log.read_text()[-300:]}")
    if left := await _leases_left(stage):
        stage.violation("etcd", f"leases are left that hold no history: {left}")


async def _await_quiet(stage: Stage) -> None:
    """Wait until the processes have given everything back."""
    deadline = now() + stage.plan.bound
    for host in stage.hosts:
        while (wrong := _left_behind(await host.report())) and now() < deadline:  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(_LOOK_SECONDS)
        if wrong:
            stage.violation(host.name, f"left behind: {wrong}")


def _left_behind(report: dict[str, Any]) -> str:
    if report["agents"] or len(report["tasks"]) > _OWN_TASKS:
        return f"tasks {report['tasks']}"
    if report["files"] > _FILES_BEFORE:
        return f"{report['files']} open files"
    return ""


async def _leases_left(stage: Stage) -> list[str]:
    """Return the leases that are there, other than the history's, when those of the killed have lapsed."""
    deadline, admin = now() + stage.plan.bound, stage.cluster.admin
    while True:
        left = []
        for lease in await admin.leases():
            keys = await admin.lease_keys(lease)
            if not keys or not all(key.startswith(b"/history/") for key in keys):
                left.append(f"{lease:x} with {keys}")
        if not left or now() > deadline:
            return left
        await asyncio.sleep(1.0)
