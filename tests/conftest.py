"""Fixtures for all tests: real etcds in every version that the machine has, and a watch for leaks."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from clusterd.testing import AgentProcess, EtcdBinary, EtcdCluster, EtcdServer, etcd_binaries
from clusterd.testing.containers import docker_available
from clusterd.testing.netns import PartitionableCluster, netns_available

# Each container is removed by the test that started it; the helper that testcontainers would add for that is an image
# that may be out of reach.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

pytest_plugins = ["pytest_clusterd"]  # what an installation has anyway, as an entry point
ETCD_VERSIONS = ("3.4", "3.5")
"""The versions that the behavioural tests run against; further ones that are found are tested too."""


def missing(reason: str) -> None:
    """Skip the test because the machine lacks something; in CI, which has it all, fail it."""
    if os.environ.get("TEST_REQUIRE_ALL") == "1":
        pytest.fail(f"TEST_REQUIRE_ALL is set, and {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session", params=sorted({*ETCD_VERSIONS, *(b.minor for b in etcd_binaries())}))
def clusterd_etcd_binary(request: pytest.FixtureRequest) -> EtcdBinary:
    """Each version of etcd in turn: a test that uses it, or `etcd`, runs against all."""
    for binary in etcd_binaries():
        if binary.minor == request.param:
            return binary
    missing(f"this machine has no etcd {request.param} with its etcdctl")
    raise AssertionError("unreachable: missing() raises")


# The fixtures that users get (pytest_clusterd), under the shorter names of our own tests.


@pytest.fixture
def etcd_binary(clusterd_etcd_binary: EtcdBinary) -> EtcdBinary:
    """Each version of etcd in turn, or what the tests of a folder run against."""
    return clusterd_etcd_binary


@pytest.fixture
def etcd(clusterd_etcd: EtcdServer) -> EtcdServer:
    """A fresh etcd of one member."""
    return clusterd_etcd


@pytest.fixture
def etcd_cluster(clusterd_etcd_cluster: EtcdCluster) -> EtcdCluster:
    """A fresh etcd of three members."""
    return clusterd_etcd_cluster


@pytest.fixture
def partitionable_cluster(netns: None, clusterd_partitionable_etcd: PartitionableCluster) -> PartitionableCluster:
    """A fresh etcd of three members that can be cut off from each other, while clients reach them all."""
    return clusterd_partitionable_etcd


@pytest.fixture
async def etcdctl(etcd: EtcdServer) -> AsyncIterator[Any]:
    """Starts etcdctl of the same version as the etcd, to run until it is ended."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: str) -> AgentProcess:
            command = (str(etcd.binary.etcdctl), f"--endpoints={etcd.endpoint}")
            process = AgentProcess(*arguments, command=command, env={"ETCDCTL_API": "3"})
            return await stack.enter_async_context(process)

        yield start


@pytest.fixture(scope="session")
def docker() -> None:
    """Skip where no Docker daemon answers (in CI: fail). For tests marked `containers`."""
    available, reason = docker_available()
    if not available:
        missing(reason)


@pytest.fixture(scope="session")
def netns() -> None:
    """Skip where network namespaces can't be had (in CI: fail). For tests marked `netns`."""
    available, reason = netns_available()
    if not available:
        missing(reason)


@pytest.fixture(autouse=True)
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves an asyncio task, a child process, or a socket or file that nobody closed."""
    asynchronous = inspect.iscoroutinefunction(getattr(request.node, "obj", None))
    if asynchronous:
        request.getfixturevalue("no_leaked_task")
    before = child_processes()
    yield
    leaked = child_processes() - before
    assert not leaked, f"child processes outlived the test: {sorted(leaked)}"
    if asynchronous:
        gc.collect()  # what was never closed complains now, as a ResourceWarning and so as this test's error


@pytest.fixture
async def no_leaked_task() -> AsyncIterator[None]:
    """Fail a test that leaves an asyncio task running. Set up first, so that every other fixture is gone by then."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)  # tasks that were cancelled at the very end get to notice
    leaked = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not leaked, f"tasks outlived the test: {leaked}"


def child_processes() -> set[tuple[int, str]]:
    """Return the pid and the name of each child of this process; nothing where there is no /proc."""
    if sys.platform != "linux":
        return set()
    return {child for path in Path("/proc").glob("[0-9]*/stat") if (child := _child_of_ours(path)) is not None}


def _child_of_ours(stat: Path) -> tuple[int, str] | None:
    try:
        before, _, after = stat.read_text(errors="replace").rpartition(") ")
    except OSError:  # it ended while we looked
        return None
    pid, _, name = before.partition(" (")
    return (int(pid), name) if int(after.split()[1]) == os.getpid() else None
