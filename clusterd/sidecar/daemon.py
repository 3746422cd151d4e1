"""The daemon's life: start the agent, log what happens to the fleet, leave on a signal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from clusterd.agent import Agent
from clusterd.aio import beside, on_first_signal, plain_errors
from clusterd.errors import UsageError
from clusterd.node import NodeState, check_address
from clusterd.sidecar.arrival import become_active_with
from clusterd.sidecar.front import Front
from clusterd.sidecar.hooks import Hooks
from clusterd.sidecar.metrics import DaemonMetrics
from clusterd.sidecar.settings import Settings
from clusterd.topology import Change, Update

log = logging.getLogger(__name__)


async def serve(settings: Settings) -> None:
    """Run the node until SIGTERM or SIGINT, then drain and withdraw it. A second signal ends the process at once.

    Raises what `Agent` raises: on starting, and when another instance takes the node over.
    """
    agent = Agent(
        settings.node,
        settings.address,
        etcd=settings.etcd_options(),
        prefix=settings.prefix,
        ttl=settings.ttl,
        weight=settings.weight,
        zone=settings.zone,
        labels=settings.label,
        endpoints=settings.endpoint,
        state=NodeState.ACTIVE if settings.starting_until is None else NodeState.STARTING,
        replace=settings.replace,
        start_timeout=settings.start_timeout,
    )
    if settings.marker is not None:  # an earlier container's end is not this one's
        settings.marker.unlink(missing_ok=True)
    metrics = DaemonMetrics(agent)
    front = Front(settings, agent, render=metrics.render)
    hooks = Hooks(settings.drain_hook, settings.sessions_hook, front.gateway)
    metrics.show(front.control, hooks.calls)
    life = _Life(agent, front, hooks, settings)
    async with (
        front.listening(),
        hooks.attached(),
        beside(metrics.run(), name="clusterd daemon's loop lag"),
        plain_errors(),
        asyncio.TaskGroup() as tasks,
    ):
        living = tasks.create_task(life.run(), name="clusterd daemon")
        with on_first_signal(lambda: life.stop() or living.cancel()):
            await asyncio.wait([living])
    log.info("node %s has left", agent.node.id)


class _Life:
    """The node's life from its start to the end of its drain, which takes `drain_timeout` seconds at the most."""

    def __init__(self, agent: Agent, front: Front, hooks: Hooks, settings: Settings) -> None:
        if not settings.drain_timeout > 0:
            raise UsageError(
                f"drain_timeout {settings.drain_timeout:g} is out of range: give a number of seconds above 0"
            )
        if settings.starting_until is not None:
            check_address(settings.starting_until)
        self._agent = agent
        self._front = front
        self._hooks = hooks
        self._drain_timeout = settings.drain_timeout
        self._gateway_at = settings.starting_until
        self._entered = False
        self._stop = asyncio.Event()

    def stop(self) -> bool:
        """Ask for the end; returns whether it comes by itself: a node that isn't registered has nothing to drain."""
        self._stop.set()
        return self._entered

    async def run(self) -> None:
        """Be a node until asked to stop, then drain."""
        agent = self._agent
        async with agent:
            self._entered = True
            log.info("node %s is registered at %s: %r", agent.node.id, agent.node.address, agent.topology)
            async with (
                beside(_tell(agent), name="clusterd daemon's log"),
                beside(self._front.run(), name="clusterd daemon's journal"),
                beside(self._hooks.run(), name="clusterd daemon's hooks"),
                beside(self._front.gateway.run(), name="clusterd daemon's gateway"),
                beside(self._arrive(), name="clusterd daemon's wait for its gateway"),
            ):
                await self._stop.wait()
                await self._drain()
                self._front.close()

    async def _drain(self) -> None:
        """Drain for the end of this process; a gateway that is gone is not waited for."""
        gone = self._front.gateway.silent.wait()
        async with (
            beside(self._agent.drain(deadline=self._drain_timeout), name="clusterd daemon's drain") as drain,
            beside(gone, name="clusterd daemon's look after its gateway") as silence,
        ):
            await asyncio.wait([drain, silence], return_when=asyncio.FIRST_COMPLETED)
        if drain.cancelled():
            log.warning("not drained: the gateway is taken for gone")
        else:
            progress = drain.result()
            log.info("drained: %d sessions moved, %s left", progress.moved, progress.left)

    async def _arrive(self) -> None:
        if self._gateway_at is not None:
            await become_active_with(self._agent, self._gateway_at)


async def _tell(agent: Agent) -> None:
    async for change in agent.changes():
        for line in describe(change):
            log.info("topology at revision %d: %s", change.revision, line)


def describe(change: Change) -> Iterator[str]:
    """Say in a line each what changed."""
    yield from (f"{node.id} joined ({node.address or 'foreign'})" for node in change.joined)
    yield from (f"{node.id} left" for node in change.left)
    yield from (f"{update.after.id} updated: {_differences(update)}" for update in change.updated)
    if change.before.stale != change.after.stale:
        yield "stale: etcd can't confirm it" if change.after.stale else "fresh again"


def _differences(update: Update) -> str:
    names = [
        name
        for name in update.after.__struct_fields__
        if name not in ("lease", "mod_revision") and getattr(update.before, name) != getattr(update.after, name)
    ]
    return ", ".join(f"{name} {getattr(update.after, name)}" for name in names) or "registered again"
