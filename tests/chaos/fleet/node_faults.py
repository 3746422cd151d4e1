"""What befalls nodes: their processes, their network, their leases and keys. Each fault is put right in the end."""

from __future__ import annotations

import asyncio

from clusterd.keys import Keyspace
from clusterd.testing import TcpProxy
from tests.chaos.fleet.host import Host
from tests.chaos.fleet.names import OFFICES
from tests.chaos.fleet.stage import Stage, now

_KEYS = Keyspace()


class NodeFaults:
    """One fault of a node, or of the nodes of one process, at a time."""

    usual = (
        *("kill_a_process", "pause_a_process", "leave_and_join", "leave_and_join"),
        *("delay_a_network", "swallow_a_network", "half_open_a_network", "reset_a_network", "refuse_connections"),
        *("revoke_a_lease", "delete_a_key", "overwrite_a_key", "revoke_a_candidates_lease", "depose_a_leader"),
    )

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._admin = stage.cluster.admin
        self._rng = stage.rng
        self._ttl = stage.plan.ttl

    async def kill_a_process(self) -> None:
        host, since = self._rng.choice(self._stage.hosts), now()
        await host.kill()
        await self._while(0.0, 2.0)
        await host.start()
        host.cause(since)

    async def pause_a_process(self) -> None:
        host, since = self._rng.choice(self._stage.hosts), now()
        host.pause()
        try:
            await self._while(0.2, 2.5)
        finally:
            host.resume()
            host.cause(since)

    async def leave_and_join(self) -> None:
        host, since = self._rng.choice(self._stage.hosts), now()
        nodes = self._rng.sample(sorted(host.wanted), min(len(host.wanted), self._rng.randint(1, 3)))
        host.wanted.difference_update(nodes)
        host.tell()
        await self._while(0.0, 1.5)
        host.wanted.update(nodes)
        host.tell()
        host.cause(since, nodes=nodes)

    async def delay_a_network(self) -> None:
        host, since, seconds = self._proxied(), now(), self._rng.uniform(0.02, 0.4)
        for proxy in host.proxies:
            proxy.delay(seconds)
        await self._heal(host, since)

    async def swallow_a_network(self) -> None:
        host, since = self._proxied(), now()
        for proxy in self._some(host.proxies):
            proxy.drop()
        await self._heal(host, since)

    async def refuse_connections(self) -> None:
        host, since = self._proxied(), now()
        for proxy in self._some(host.proxies):
            await proxy.refuse()
            proxy.reset()
        await self._heal(host, since)

    async def half_open_a_network(self) -> None:
        host = self._proxied()
        for proxy in host.proxies:
            proxy.half_open()

    async def reset_a_network(self) -> None:
        host = self._proxied()
        for proxy in host.proxies:
            proxy.reset()

    async def revoke_a_lease(self) -> None:
        """By hand, and that of a registration."""
        node, since = self._some_node(), now()
        if (kv := await self._admin.get(_KEYS.node(node))) is not None and kv.lease:
            await self._admin.lease_revoke(kv.lease)
        self._stage.host_of(node).cause(since, nodes=[node])

    async def delete_a_key(self) -> None:
        node, since = self._some_node(), now()
        await self._admin.delete(_KEYS.node(node))
        self._stage.host_of(node).cause(since, nodes=[node])

    async def overwrite_a_key(self) -> None:
        await self._admin.put(_KEYS.node(self._some_node()), "active")

    async def revoke_a_candidates_lease(self) -> None:
        if standing := await self._admin.range(_KEYS.election(self._rng.choice(OFFICES)) + b"/"):
            await self._admin.lease_revoke(self._rng.choice(standing).lease)

    async def depose_a_leader(self) -> None:
        if standing := await self._admin.range(_KEYS.election(self._rng.choice(OFFICES)) + b"/"):
            await self._admin.delete(min(standing, key=lambda kv: kv.create_revision).key)

    async def _heal(self, host: Host, since: float) -> None:
        try:
            await self._while(0.2, 2.0)
        finally:
            for proxy in host.proxies:
                await proxy.heal()
            host.cause(since)

    def _proxied(self) -> Host:
        return self._rng.choice([host for host in self._stage.hosts if host.proxies])

    def _some(self, proxies: list[TcpProxy]) -> list[TcpProxy]:
        """Return all ways to etcd, or some of them."""
        return self._rng.sample(proxies, self._rng.randint(1, len(proxies)))

    def _some_node(self) -> str:
        return self._rng.choice(sorted(self._stage.wanted) or ["gw-00"])

    async def _while(self, least: float, most: float) -> None:
        """Let time pass, in TTLs."""
        await asyncio.sleep(self._rng.uniform(least, most) * self._ttl)
