"""The stage: an etcd, gateway nodes, and an observer who sees what the fleet sees."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from clusterctl.demo.gateways import Gateways
from clusterctl.demo.traffic import Traffic
from clusterctl.follow import following
from clusterd.etcd.client import Client
from clusterd.etcd.embedded import EmbeddedEtcd
from clusterd.etcd.options import EtcdOptions
from clusterd.keys import Keyspace
from clusterd.mirror import Mirror
from clusterd.topology import Change, Topology

TTL = 3
"""The nodes' TTL in seconds: short, so that the demo is."""

_CHECK_SECONDS = 0.5


@dataclass(slots=True)
class Stage:
    """What a scene acts on, and watches. `changes` are all that the observer saw, with their monotonic times."""

    etcd: EmbeddedEtcd
    gateways: Gateways
    client: Client
    mirror: Mirror
    traffic: Traffic | None = None
    changes: list[tuple[float, Change]] = field(default_factory=list)

    @property
    def topology(self) -> Topology:
        """The topology as the observer has it."""
        return self.mirror.topology

    async def until(self, holds: Callable[[Topology], bool], seconds: float) -> float | None:
        """Wait until the topology is as wanted; return how many seconds that took, None if it took too long.

        Raises `ClusterdError` if a node's process fails meanwhile.
        """
        started, changes = time.monotonic(), self.mirror.changes()
        while not holds(self.topology):
            self.gateways.check()
            if time.monotonic() - started > seconds:
                return None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_SECONDS):
                    await anext(changes)
        return time.monotonic() - started

    def need_traffic(self) -> Traffic:
        """Return the traffic, for scenes that are played only where there is some."""
        assert self.traffic is not None  # noqa: S101 - see above
        return self.traffic

    def left_since(self, moment: float) -> list[str]:
        """Return the nodes that were seen to leave since a monotonic time."""
        return [node.id for at, change in self.changes if at >= moment for node in change.left]

    async def record(self) -> None:
        """Note every change, for ever."""
        async for change in self.mirror.changes():
            self.changes.append((time.monotonic(), change))


@contextlib.asynccontextmanager
async def open_stage(checkout: Path | None) -> AsyncIterator[Stage]:
    """Have a stage, with the message gateway of a checkout and its traffic if there is one.

    Afterwards no process and no file of it is left. Raises `EtcdNotFound` where this host has no etcd to run.
    """
    with tempfile.TemporaryDirectory(prefix="clusterd-demo-") as directory:
        async with EmbeddedEtcd() as etcd:
            gateways = Gateways(etcd.endpoint, TTL, Path(directory), checkout)
            traffic = Traffic(checkout, Path(directory) / "traffic.log") if checkout else None
            try:
                async with _observed(etcd, gateways) as stage:
                    stage.traffic = traffic
                    yield stage
            finally:
                if traffic:
                    await traffic.close()
                await gateways.kill_all()


@contextlib.asynccontextmanager
async def _observed(etcd: EmbeddedEtcd, gateways: Gateways) -> AsyncIterator[Stage]:
    async with (
        Client(EtcdOptions.of(etcd.endpoint)) as client,
        following(client, Keyspace()) as mirror,
    ):
        stage = Stage(etcd, gateways, client, mirror)
        recording = asyncio.create_task(stage.record(), name="clusterctl demo's recorder")
        try:
            yield stage
        finally:
            recording.cancel()
            await asyncio.wait([recording])
