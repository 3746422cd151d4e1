"""The image as it is deployed: etcd, gateways and sidecars as containers, a gateway and its sidecar as in one pod."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker as docker_library
import pytest

from clusterd import Agent
from clusterd.testing import etcd_binaries, eventually
from clusterd.testing.containers import EtcdContainer, is_static
from tests.integration.pod.crowd import Crowd
from tests.integration.pod.images import clusterd_image

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]

GATEWAY = Path(__file__).with_name("gateway.py")
PORT = 8080
CONTROL = "http://127.0.0.1:8470"
SESSIONS = 60
STARTED = 120.0
"""Seconds for the pods to start: where a machine is busy, Docker's containers together get one process's share."""
RESTRICTED = {
    "user": "65532:65532",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "mem_limit": "256m",
}
"""What the chart asks of Kubernetes, in Docker's words."""


@pytest.fixture(scope="session")
def client(docker: None) -> Iterator[docker_library.DockerClient]:
    client = docker_library.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(client: docker_library.DockerClient, pytestconfig: pytest.Config) -> str:
    assert pytestconfig.cache is not None
    return clusterd_image(client, pytestconfig.cache.mkdir("images"))


@dataclass
class Pod:
    """Containers that share a network namespace."""

    node: str
    address: str
    gateway: Any
    sidecar: Any

    async def stop(self, container: Any, grace: int = 90) -> int:
        """`docker stop`; return the exit code."""
        await asyncio.to_thread(container.stop, timeout=grace)
        result = await asyncio.to_thread(container.wait)
        return int(result["StatusCode"])


@pytest.fixture
async def etcd(docker: None) -> AsyncIterator[EtcdContainer]:
    (binary, *_) = [binary for binary in etcd_binaries() if is_static(binary.etcd)]
    async with EtcdContainer(binary) as container:
        yield container


@asynccontextmanager
async def running(
    image: str, command: list[str], *, env: Mapping[str, str] | None = None, script: Path | None = None, **options: Any
) -> AsyncIterator[Any]:
    """A container of the image for the time of the body, through testcontainers; `script` is mounted at /script.py."""
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(image).with_command(command).with_kwargs(**options)
    for name, value in (env or {}).items():
        container.with_env(name, value)
    if script is not None:
        container.with_volume_mapping(script, "/script.py", "ro")
    starting = asyncio.ensure_future(asyncio.to_thread(container.start))
    try:
        await asyncio.shield(starting)
        yield container.get_wrapped_container()
    finally:
        await asyncio.wait([starting])  # a thread can't be cancelled: what it starts must be there to be removed
        await asyncio.to_thread(container.stop)
        container.get_docker_client().client.close()


async def start_pod(stack: AsyncExitStack, image: str, etcd: EtcdContainer, node: str) -> Pod:
    """Start a pod as a kubelet does: who holds the namespace, the sidecar, and the gateway."""
    holder = await stack.enter_async_context(running(image, ["infinity"], entrypoint="sleep"))
    await asyncio.to_thread(holder.reload)
    address = f"{holder.attrs['NetworkSettings']['IPAddress']}:{PORT}"
    shared = {**RESTRICTED, "network_mode": f"container:{holder.id}"}
    settings = {"NODE": node, "ADDRESS": address, "ETCD": etcd.network_endpoint, "TTL": "10", "DRAIN_TIMEOUT": "60"}
    environment = {f"CLUSTERD_{name}": value for name, value in settings.items()}
    sidecar = await stack.enter_async_context(running(image, ["run"], env=environment, **shared))
    gateway = await stack.enter_async_context(
        running(image, ["/script.py", str(PORT), CONTROL], script=GATEWAY, entrypoint="python", **shared)
    )
    return Pod(node, address, gateway, sidecar)


async def test_docker_stop_moves_the_sessions_and_the_node_is_gone(image: str, etcd: EtcdContainer) -> None:
    async with AsyncExitStack() as stack:
        first = await start_pod(stack, image, etcd, "gw-1")
        second = await start_pod(stack, image, etcd, "gw-2")
        witness = await stack.enter_async_context(Agent("witness", "10.0.0.1:1", etcd=etcd.endpoint, ttl=2, weight=0))

        def elsewhere() -> str:
            owner = witness.topology.route("any").owner
            assert owner is not None
            return owner.address

        await eventually(lambda: {first.node, second.node} <= witness.topology.nodes.keys(), STARTED)
        await eventually(lambda: "serving" in logs(first.gateway) and "serving" in logs(second.gateway), STARTED)
        crowd = await stack.enter_async_context(Crowd(SESSIONS, first.address, elsewhere))
        assert await first.stop(first.sidecar) == 0
        assert (crowd.moved, crowd.lost) == (SESSIONS, 0), logs(first.sidecar)
        assert crowd.at[second.address] == SESSIONS
        await eventually(lambda: first.node not in witness.topology)
        assert await first.stop(first.gateway) == 0
        assert "ended with 0 sessions" in logs(first.gateway)
        assert crowd.lost == 0


async def test_the_image_needs_no_root_no_shell_and_no_place_to_write(
    image: str, client: docker_library.DockerClient, etcd: EtcdContainer
) -> None:
    config = client.images.get(image).attrs["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["clusterd"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    environment = {"CLUSTERCTL_ENDPOINTS": etcd.network_endpoint}
    async with running(image, ["nodes"], entrypoint="clusterctl", env=environment, **RESTRICTED) as container:
        result = await asyncio.to_thread(container.wait)
        assert result["StatusCode"] == 0, logs(container)
        assert not client.api.diff(container.id)


def logs(container: Any) -> str:
    text: bytes = container.logs()
    return text.decode()
