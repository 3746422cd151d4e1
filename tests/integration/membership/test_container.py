"""The same fleet on an etcd that runs as a container."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from clusterd import SessionState
from clusterd.testing import etcd_binaries, eventually
from clusterd.testing.containers import EtcdContainer, is_static

pytestmark = pytest.mark.containers


@pytest.mark.usefixtures("docker")
async def test_a_fleet_survives_what_befalls_the_container_of_its_etcd(fleet_on: Any, sees: Any) -> None:
    (binary, *_) = [binary for binary in etcd_binaries() if is_static(binary.etcd)]
    async with EtcdContainer(binary) as etcd, AsyncExitStack() as stack:
        fleet = fleet_on(etcd, stack)
        agents = await fleet.agents(3, etcd=etcd.endpoint)
        witnesses = [await fleet.witness(agent) for agent in agents]
        etcd.pause()
        await asyncio.wait_for(agents[0].session.wait_for(SessionState.LOST), 10)
        etcd.resume()
        await eventually(lambda: all(len(sees(agent)) == 3 and not agent.topology.stale for agent in agents))

        async with fleet.new("leaver", etcd=etcd.endpoint):
            await eventually(lambda: all("leaver" in agent.topology for agent in agents))
        await eventually(lambda: all("leaver" not in agent.topology for agent in agents))
        await eventually(lambda: [witness.left for witness in witnesses] == [["leaver"]] * 3)
