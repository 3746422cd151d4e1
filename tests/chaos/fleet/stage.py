"""What a run plays on: an etcd of three members with auth and TLS, worker processes, witnesses."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusterd import TLS, EtcdOptions, Node, Topology
from clusterd.aio import beside
from clusterd.etcd.client import Client
from clusterd.etcd.process import EtcdStartError
from clusterd.keys import Keyspace
from clusterd.node import decode_node
from clusterd.testing import EtcdBinary, EtcdCluster, Recorder, newest_etcd
from clusterd.testing.certs import make_certificates
from clusterd.testing.netns import PartitionableCluster, netns_available
from tests.chaos.fleet.auditor import Auditor
from tests.chaos.fleet.host import Host, Site
from tests.chaos.fleet.lag import watch_lag, watch_load
from tests.chaos.fleet.names import EVERYBODY, PASSWORD, USER, node_name, tells_routes

ROOT = "root-of-etcd"
TOKEN_TTL = 5
_QUOTA = 96 << 20
# At etcd's own cost of a password (0.1 s of a processor) the logins of so many agents are all that two cores do.
_FLAGS = (f"--auth-token-ttl={TOKEN_TTL}", "--bcrypt-cost=4")
_CATCH_UP_SECONDS = 10.0
_STARTS = 5
_KEYS = Keyspace()


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run goes. `groups` worker processes host `group` agents each, `singles` host one; times in seconds."""

    seed: int
    groups: int = 5
    group: int = 9
    singles: int = 5
    ttl: int = 5
    seconds: float = 180.0
    round_seconds: float = 30.0
    rare: bool = True
    patience: float = 1.0

    @property
    def bound(self) -> float:
        """Seconds within which all agents must agree again after the last fault, and for which causes may show late.

        A lease that a change of etcd's leader extended, the wait for a held node id, then a pause of the backoff; all
        of it times `patience`, on a machine that is busy with something else.
        """
        return self.patience * (6.0 * self.ttl + 10.0)


class Stage:
    """The parts of one run; `play` makes them."""

    def __init__(self, plan: Plan, cluster: EtcdCluster, client: Client, recorder: Recorder, directory: Path) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.cluster = cluster
        self.client = client
        self.recorder = recorder
        self.history = directory / "driver.jsonl"
        self.hosts: list[Host] = []
        self.auditor = Auditor(client, recorder)
        self._following: asyncio.Task[None] | None = None
        self._epoch = 0

    @property
    def partitionable(self) -> bool:
        """Whether members can be cut off from each other here."""
        return isinstance(self.cluster, PartitionableCluster)

    @property
    def wanted(self) -> set[str]:
        """The nodes that are to be there."""
        return {node for host in self.hosts for node in host.wanted}

    async def secure(self) -> None:
        """Turn auth on, with a user for the agents who may write what is clusterd's."""
        admin = self.cluster.admin
        await admin.add_role("fleet")
        await admin.grant("fleet", "/")
        await admin.add_user(USER, PASSWORD, roles=("fleet",))
        await self.cluster.enable_auth("root", ROOT, token_ttl=TOKEN_TTL)

    async def revive(self) -> None:
        """Start the members that don't run, again where one crashes at that: etcd 3.5.1 does, now and then."""
        for left in reversed(range(_STARTS)):
            try:
                await self.cluster.start()
            except EtcdStartError as error:
                self.recorder.note("etcd failed to start", text=str(error))
                if not left:
                    raise
            else:
                return

    async def audit(self, start: int) -> None:
        """Follow all keys from that revision on, as a new epoch."""
        await self.stop_audit()
        self._epoch += 1
        self.auditor.revision = 0
        self._following = asyncio.create_task(self.auditor.follow(start), name="auditor")

    async def stop_audit(self) -> None:
        """Follow them no more."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
            self._following = None

    async def caught_up(self) -> bool:
        """Wait until the auditor has seen all that etcd has; returns whether it has, in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                await self.auditor.caught_up(await self.cluster.admin.revision())
                return True
        return False

    async def fresh(self) -> Topology:
        """Return what etcd has, read by a client that is not clusterd's."""
        keys = await self.cluster.admin.range(_KEYS.nodes)
        return Topology.of([_node(kv) for kv in keys])

    def host_of(self, node: str) -> Host:
        """Return the host of a node."""
        return next(host for host in self.hosts if node in host.nodes)

    def violation(self, who: str, text: str) -> None:
        """Record that something happened that must not."""
        self.recorder.note("violation", who, text=text)


@contextlib.asynccontextmanager
async def play(plan: Plan, directory: Path, binary: EtcdBinary | None = None) -> AsyncIterator[Stage]:
    """Set the stage: etcd is there, secured, and all agents are being started."""
    async with AsyncExitStack() as stack:
        recorder = stack.enter_context(Recorder(directory / "driver.jsonl", routes=tells_routes))
        cluster = await stack.enter_async_context(_cluster(binary or newest_etcd(), directory))
        tls = cluster.tls
        assert tls is not None
        options = EtcdOptions(tuple(cluster.endpoints), user="root", password=ROOT, tls=TLS(cacert=tls.ca))
        client = await stack.enter_async_context(Client(options))
        stage = Stage(plan, cluster, client, recorder, directory)
        await stage.secure()
        await stage.audit(await cluster.admin.revision())
        stack.push_async_callback(stage.stop_audit)
        site = Site(cluster.endpoints, tls.ca, plan.ttl, directory)
        await stack.enter_async_context(beside(watch_lag(recorder, lambda: [EVERYBODY]), name="lag"))
        await stack.enter_async_context(beside(watch_load(recorder), name="load"))
        for host in _hosts(plan, site, recorder):
            stage.hosts.append(await stack.enter_async_context(host))
        yield stage


def _cluster(binary: EtcdBinary, directory: Path) -> EtcdCluster:
    certificates = directory / "certificates"
    if netns_available()[0]:
        return PartitionableCluster(binary=binary, flags=_FLAGS, quota_bytes=_QUOTA, certificates=certificates)
    return EtcdCluster(3, binary=binary, flags=_FLAGS, quota_bytes=_QUOTA, tls=make_certificates(certificates))


def _hosts(plan: Plan, site: Site, recorder: Recorder) -> list[Host]:
    """Return the workers: one group and every other single has a network of its own, that can be made bad."""
    names = iter(node_name(number) for number in range(1000))
    groups: list[tuple[str, Sequence[str], bool]] = [
        (f"group-{number}", [next(names) for _ in range(plan.group)], number == 0) for number in range(plan.groups)
    ]
    singles = [(f"single-{number}", [next(names)], number % 2 == 0) for number in range(plan.singles)]
    return [Host(name, nodes, site, recorder, proxied=proxied) for name, nodes, proxied in [*groups, *singles]]


def _node(kv: Any) -> Node:
    return decode_node(_KEYS.node_id(kv.key), kv.value, lease=kv.lease, mod_revision=kv.mod_revision)


def now() -> float:
    """Return the time that histories go by."""
    return time.monotonic()
