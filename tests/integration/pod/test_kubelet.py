"""What the chart renders, carried out as a kubelet does: no session is lost when a pod ends."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from clusterd import Agent, NodeState
from clusterd.aio import beside
from clusterd.testing import AgentProcess, EtcdServer, eventually
from tests.chart.rendering import gateway_pod, merged, render
from tests.integration.pod.crowd import Crowd
from tests.integration.pod.kubelet import Pod

pytestmark = pytest.mark.timeout(180)

GATEWAY = Path(__file__).with_name("gateway.py")
SESSIONS = 40


@pytest.fixture
async def etcd() -> AsyncIterator[EtcdServer]:
    async with EtcdServer() as server:
        yield server


@pytest.fixture
async def witness(etcd: EtcdServer) -> AsyncIterator[Agent]:
    """Sees the fleet, and owns nothing."""
    async with Agent("witness", "10.0.0.1:1", etcd=etcd.endpoint, ttl=5, weight=0) as agent:
        yield agent


@pytest.fixture
async def start(etcd: EtcdServer, witness: Agent, tmp_path: Path) -> AsyncIterator[Any]:
    """Start a pod of the chart with these values, and wait until it is ready."""
    async with AsyncExitStack() as stack:

        async def start(name: str, **values: Any) -> Pod:
            gateway, control, probes = free_ports(3)
            command = [sys.executable, str(GATEWAY), str(gateway), f"http://127.0.0.1:{control}"]
            own = {
                "etcd": {"endpoints": [etcd.endpoint]},
                "gateway": {"port": gateway, "command": command, "stopSeconds": 5},
                "sidecar": {"controlPort": control, "probesPort": probes, "listen": "127.0.0.1", "logFormat": "text"},
                "drain": {"settle": 0, "deadline": 20},
                "node": {"ttl": 5},
            }
            spec = gateway_pod(render(merged(own, values)))
            pod = await stack.enter_async_context(Pod(spec, name, tmp_path, {"clusterd": ["clusterd"]}))
            await pod.start()
            await pod.mains[0].process.wait_for_line("serving")
            await eventually(lambda: name in witness.topology)
            await eventually(pod.ready)
            return pod

        yield start


def free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(number)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def owner_of(witness: Agent) -> Callable[[], str]:
    def elsewhere() -> str:
        owner = witness.topology.route("a key").owner
        assert owner is not None
        return owner.address

    return elsewhere


async def test_a_pod_that_is_deleted_loses_no_session(start: Any, witness: Agent) -> None:
    leaving, staying = await start("gw-1", drain={"over": 1}), await start("gw-2")
    (sidecar,), (gateway,) = leaving.sidecars, leaving.mains
    here, there = (witness.topology.nodes[pod.name].address for pod in (leaving, staying))
    async with Crowd(SESSIONS, here, owner_of(witness)) as crowd:
        took = await leaving.delete()
        assert (crowd.moved, crowd.lost, crowd.at[there]) == (SESSIONS, 0, SESSIONS), sidecar.process.lines
    assert took < leaving.grace
    assert (sidecar.hook_code, gateway.hook_code) == (0, 0)
    assert "ended with 0 sessions" in gateway.process.stdout
    assert gateway.terminated_at < sidecar.terminated_at
    assert (gateway.returncode, sidecar.returncode) == (0, 0)
    await eventually(lambda: leaving.name not in witness.topology)


async def test_a_node_owns_nothing_before_its_gateway_serves(start: Any, witness: Agent) -> None:
    seen: list[NodeState] = []

    async def follow() -> None:
        async for change in witness.changes():
            seen.extend(node.state for node in change.after.nodes.values() if node.id == "gw-1")

    async with beside(follow(), name="follows gw-1"):
        await start("gw-1")
        await eventually(lambda: NodeState.ACTIVE in seen)
    assert seen[0] is NodeState.STARTING


async def test_without_the_gateways_hook_sessions_would_be_lost(start: Any, witness: Agent) -> None:
    leaving = await start("gw-1", drain={"deadline": 4, "over": 4}, gateway={"preStop": {"mode": "none"}})
    await start("gw-2")
    async with Crowd(SESSIONS, witness.topology.nodes["gw-1"].address, owner_of(witness)) as crowd:
        await leaving.delete()
        await eventually(lambda: crowd.moved + crowd.lost == SESSIONS)
        assert crowd.lost > 0


async def test_sessions_that_do_not_go_hold_a_pod_up_to_the_deadline_and_no_longer(start: Any, witness: Agent) -> None:
    pod = await start("gw-1", drain={"deadline": 2})
    (sidecar,), (gateway,) = pod.sidecars, pod.mains
    host, _, port = witness.topology.nodes["gw-1"].address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    await pod.delete()
    writer.close()
    assert sidecar.hook_code == 6, "sessions were left"
    assert gateway.hook_code == 0
    assert "ended with 1 sessions" in gateway.process.stdout
    assert (gateway.returncode, sidecar.returncode) == (0, 0), "nothing had to be killed"


async def test_a_sidecar_that_is_gone_does_not_hold_the_pod_up(start: Any) -> None:
    pod = await start("gw-1", drain={"deadline": 60})
    (sidecar,), (gateway,) = pod.sidecars, pod.mains
    await sidecar.process.kill()
    await pod.delete()
    assert sidecar.hook_code == 3, "the daemon can't be reached"
    assert gateway.hook_seconds < 60
    assert gateway.returncode == 0


async def test_a_gateway_without_a_shell_sleeps_as_long_as_a_drain_may_take(start: Any, witness: Agent) -> None:
    leaving = await start("gw-1", drain={"deadline": 1}, gateway={"preStop": {"mode": "sleep"}})
    await start("gw-2")
    async with Crowd(SESSIONS, witness.topology.nodes["gw-1"].address, owner_of(witness)) as crowd:
        await leaving.delete()
        assert (crowd.moved, crowd.lost) == (SESSIONS, 0)
    assert [container.returncode for container in (*leaving.mains, *leaving.sidecars)] == [0, 0]


async def test_a_node_that_an_operator_drains_is_not_ready(start: Any, etcd: EtcdServer) -> None:
    pod = await start("gw-1")
    command = (sys.executable, "-m", "clusterctl", "--endpoints", etcd.endpoint)
    async with AgentProcess("cordon", "gw-1", command=command) as cordon:
        assert await cordon.wait() == 0

    async def unready() -> bool:
        return not await pod.ready()

    await eventually(unready)


async def test_helm_test_fails_without_nodes_of_the_release_and_passes_with_them(start: Any, etcd: EtcdServer) -> None:
    manifests = render(merged({"etcd": {"endpoints": [etcd.endpoint]}}))
    tests = [manifest["spec"]["containers"][0] for manifest in manifests if manifest["kind"] == "Pod"]

    async def run(test: Any) -> int:
        env = {entry["name"]: entry["value"] for entry in test["env"]}
        command = [str(Path(sys.executable).with_name(test["command"][0])), *test["args"]]
        async with AgentProcess(command=command, env=env) as process:
            return await process.wait(30)

    assert await run(next(test for test in tests if test["name"] == "nodes")) == 4
    await start("gw-1")
    assert {test["name"]: await run(test) for test in tests} == {"doctor": 0, "nodes": 0}
