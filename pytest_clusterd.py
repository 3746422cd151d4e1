"""pytest fixtures with real etcds and agents (docs/testing.md).

The pytest plugin of clusterd's extra `testing`. pytest imports it in every run of every project that has clusterd
installed: so it stands outside of the package, and imports that only in a fixture that is used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # no fixture that is asynchronous can be used then; pytest says so
    async_fixture = pytest.fixture  # type: ignore[assignment]

if TYPE_CHECKING:
    from clusterd import Agent
    from clusterd.testing import AgentProcess, EtcdBinary, EtcdCluster, EtcdServer, Recorder, TcpProxy
    from clusterd.testing.certs import Certificates
    from clusterd.testing.netns import PartitionableCluster

_ADDRESS = "127.0.0.1:8080"
_TTL = 2


@pytest.fixture(scope="session")
def clusterd_etcd_binary() -> EtcdBinary:
    """The etcd to run: the newest that is found. Override it to choose, or to run every test against several."""
    from clusterd.testing import newest_etcd

    return newest_etcd()


@pytest.fixture(scope="session")
def clusterd_certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, a server certificate for 127.0.0.1 and a client certificate, as files."""
    from clusterd.testing.certs import make_certificates

    return make_certificates(tmp_path_factory.mktemp("clusterd-certificates"))


@async_fixture
async def clusterd_etcd(clusterd_etcd_binary: EtcdBinary) -> AsyncIterator[EtcdServer]:
    """A fresh etcd of one member."""
    from clusterd.testing import EtcdServer

    async with EtcdServer(binary=clusterd_etcd_binary) as server:
        yield server


@async_fixture
async def clusterd_etcd_cluster(clusterd_etcd_binary: EtcdBinary) -> AsyncIterator[EtcdCluster]:
    """A fresh etcd of three members."""
    from clusterd.testing import EtcdCluster

    async with EtcdCluster(3, binary=clusterd_etcd_binary) as cluster:
        yield cluster


@async_fixture
async def clusterd_partitionable_etcd(clusterd_etcd_binary: EtcdBinary) -> AsyncIterator[PartitionableCluster]:
    """A fresh etcd of three members that can be cut off from each other; skips where that can't be had."""
    from clusterd.testing.netns import PartitionableCluster, netns_available

    available, reason = netns_available()
    if not available:
        pytest.skip(reason)
    async with PartitionableCluster(binary=clusterd_etcd_binary) as cluster:
        yield cluster


@async_fixture
async def clusterd_proxy() -> AsyncIterator[Callable[[str], Awaitable[TcpProxy]]]:
    """Return a proxy in front of a URL: `proxy = await clusterd_proxy(etcd.endpoint)`."""
    from clusterd.testing import TcpProxy

    async with AsyncExitStack() as stack:

        async def start(target: str) -> TcpProxy:
            return await stack.enter_async_context(TcpProxy(target))

        yield start


@async_fixture
async def clusterd_agent(clusterd_etcd: EtcdServer) -> AsyncIterator[Callable[..., Awaitable[Agent]]]:
    """Return a running agent in this process: `agent = await clusterd_agent("gw-1")`.

    It is on `clusterd_etcd`, unless `etcd` is given, with a TTL of 2 s, unless `ttl` is. All leave at the end.
    """
    from clusterd import Agent

    async with AsyncExitStack() as stack:

        async def start(node: str, address: str = _ADDRESS, **options: Any) -> Agent:
            agent = Agent(node, address, **{"etcd": clusterd_etcd.endpoint, "ttl": _TTL, **options})
            return await stack.enter_async_context(agent)

        yield start


@async_fixture
async def clusterd_agent_process(clusterd_etcd: EtcdServer) -> AsyncIterator[Callable[..., Awaitable[AgentProcess]]]:
    """Return `clusterd run` as a process, registered: `process = await clusterd_agent_process("gw-1")`.

    Further arguments are flags of `clusterd run`. It can be paused and killed; what is left is killed at the end.
    """
    from clusterd.testing import AgentProcess

    async with AsyncExitStack() as stack:

        async def start(node: str, *flags: str) -> AgentProcess:
            where = ("--etcd", clusterd_etcd.endpoint, "--ttl", str(_TTL))
            process = AgentProcess("--node", node, "--address", _ADDRESS, *where, *flags)
            await stack.enter_async_context(process)
            await process.wait_for_line("registered at", timeout=30.0)
            return process

        yield start


@pytest.fixture
def clusterd_recorder() -> Iterator[Recorder]:
    """A recorder that keeps its history in memory."""
    from clusterd.testing import Recorder

    with Recorder() as recorder:
        yield recorder
