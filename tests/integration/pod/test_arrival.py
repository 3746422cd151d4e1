"""A daemon whose gateway comes later."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator

import pytest

from clusterd import Agent, NodeState
from clusterd.testing import AgentProcess, EtcdServer, eventually

BASE = ("--node=gw-1", "--address=10.0.0.1:80", "--control=off", "--probes=off", "--ttl=2")


@pytest.fixture
async def etcd() -> AsyncIterator[EtcdServer]:
    async with EtcdServer() as server:
        yield server


async def test_the_node_is_starting_until_something_listens_and_stays_active_when_that_goes(etcd: EtcdServer) -> None:
    with socket.socket() as gateway:
        gateway.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{gateway.getsockname()[1]}"
        async with (
            Agent("witness", "10.0.0.1:1", etcd=etcd.endpoint, ttl=2, weight=0) as witness,
            AgentProcess(*BASE, f"--etcd={etcd.endpoint}", f"--starting-until={address}") as daemon,
        ):
            await daemon.wait_for_line("is registered")
            await eventually(lambda: "gw-1" in witness.topology)
            assert witness.topology.nodes["gw-1"].state is NodeState.STARTING
            assert witness.topology.route("a key").owner is None
            gateway.listen()
            await daemon.wait_for_line("the gateway listens")
            await eventually(lambda: witness.topology.nodes["gw-1"].state is NodeState.ACTIVE)
            gateway.close()
            assert await daemon.terminate() == 0


async def test_a_node_that_waits_for_its_gateway_ends_at_once(etcd: EtcdServer) -> None:
    async with AgentProcess(*BASE, f"--etcd={etcd.endpoint}", "--starting-until=127.0.0.1:1") as daemon:
        await daemon.wait_for_line("is registered")
        assert await daemon.terminate() == 0


async def test_an_operators_cordon_outlasts_the_gateways_arrival(etcd: EtcdServer) -> None:
    operator = (sys.executable, "-m", "clusterctl", "--endpoints", etcd.endpoint)
    async with AgentProcess(*BASE, f"--etcd={etcd.endpoint}", "--starting-until=127.0.0.1:1") as daemon:
        await daemon.wait_for_line("is registered")
        async with AgentProcess("cordon", "gw-1", command=operator) as cordon:
            assert await cordon.wait() == 0
        await daemon.kill()
    with socket.create_server(("127.0.0.1", 0)) as gateway:
        address = f"127.0.0.1:{gateway.getsockname()[1]}"
        async with AgentProcess(*BASE, f"--etcd={etcd.endpoint}", f"--starting-until={address}") as again:
            await again.wait_for_line("the gateway listens at .*: the node is cordoned", 15)


@pytest.mark.parametrize("address", ["8080", "127.0.0.1:99999"])
async def test_an_address_that_can_not_be_one_is_refused(address: str) -> None:
    async with AgentProcess(*BASE, f"--starting-until={address}") as daemon:
        assert await daemon.wait() == 2
        assert len(daemon.stderr) == 1
