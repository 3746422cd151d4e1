"""The real command as a process: at the end of a pipe, or at a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from clusterd.child import Child
from clusterd.node import Node, encode_node
from clusterd.status import NodeStatus, encode_status
from clusterd.testing import EtcdBinary, EtcdServer, newest_etcd
from tests.integration.cli.yard import Yard

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def clusterd_etcd_binary(request: pytest.FixtureRequest) -> EtcdBinary:
    """The newest etcd, unless a test asks for others: most of what is tested here doesn't depend on it."""
    return getattr(request, "param", None) or newest_etcd()


Run = Callable[..., Awaitable[Result]]
Started = Callable[..., AbstractAsyncContextManager[Child]]


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CLUSTERCTL_", "ETCDCTL_"))}
    return clean | {"TERM": "xterm-256color", "COLUMNS": "120"} | extra


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> Iterator[None]:
    """Let children hear Ctrl-C: a test run that was started in the background would have them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def started() -> Started:
    """`async with started("watch", "--endpoints", url) as child`: the command, running, with pipes to read from."""

    @asynccontextmanager
    async def start(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Child]:
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-m", "clusterctl", *arguments]
        child = await Child.spawn(command, env=environment(env or {}), stdout=pipe, stderr=pipe)
        try:
            yield child
        finally:
            await child.kill()

    return start


@pytest.fixture
def clusterctl(started: Started) -> Run:
    """`await clusterctl("nodes", env={...})`: run the command to its end, in a pipe."""

    async def run(*arguments: str, env: Mapping[str, str] | None = None, seconds: float = _SECONDS) -> Result:
        async with asyncio.timeout(seconds), started(*arguments, env=env) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            out, err = await asyncio.gather(child.stdout.read(), child.stderr.read())
            code = await child.wait()
        result = Result(code, out.decode(), err.decode())
        assert "Traceback" not in result.err
        return result

    return run


class Terminal:
    """A command at a pseudo-terminal: what it shows so far, and what is typed."""

    def __init__(self, child: Child, descriptor: int) -> None:
        self.child = child
        self.shown = ""
        self._descriptor = descriptor
        self._changed = asyncio.Event()
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._descriptor, text.encode())

    async def shows(self, text: str) -> None:
        """Wait until it shows a text."""
        async with asyncio.timeout(_SECONDS):
            while text not in self.shown:
                self._changed.clear()
                await self._changed.wait()

    async def ends(self) -> int:
        """Wait until it ended and all was read; return the exit code."""
        async with asyncio.timeout(_SECONDS):
            code = await self.child.wait()
        self._read()
        return code

    def close(self) -> None:
        """Hang up."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        with suppress(OSError):  # nothing to read, or the other side has hung up
            data = os.read(self._descriptor, 65536)
            self.shown += data.decode(errors="replace")
            self._changed.set()
            return
        asyncio.get_running_loop().remove_reader(self._descriptor)


@pytest.fixture
def terminal() -> Callable[..., AbstractAsyncContextManager[Terminal]]:
    """`async with terminal("nodes", "-w") as screen`: the command at a terminal of its own."""

    @asynccontextmanager
    async def at(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Terminal]:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", _AT_TERMINAL, os.ttyname(theirs), *arguments]
        child = await Child.spawn(command, env=environment(env or {}), stdout=theirs, stderr=theirs)
        os.close(theirs)
        screen = Terminal(child, ours)
        try:
            yield screen
        finally:
            await child.kill()
            screen.close()

    return at


# Opening a terminal makes it the controlling one of a new session, so that Ctrl-C and the password prompt find it.
_AT_TERMINAL = """
import os, sys
terminal = os.open(sys.argv.pop(1), os.O_RDWR)
os.dup2(terminal, 0)
from clusterctl.main import main
main()
"""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Writes registrations as nodes would, under one lease."""

    etcd: EtcdServer
    lease: int

    async def register(self, node_id: str, *, sessions: int | None = None, **fields: object) -> int:
        """Register a node, and publish its figures if it has any; return the revision."""
        node = Node(**{"id": node_id, "address": "127.0.0.1:80", "instance": node_id, **fields})  # type: ignore[arg-type]
        if sessions is not None:
            status = encode_status(NodeStatus(instance=node.instance, sessions=sessions))
            await self.etcd.admin.put(f"/status/{node_id}", status, lease=self.lease)
        return await self.etcd.admin.put(f"/nodes/{node_id}", encode_node(node), lease=self.lease)


@pytest.fixture
async def fleet(etcd: EtcdServer) -> Fleet:
    """An etcd with three nodes and a foreign value."""
    fleet = Fleet(etcd, await etcd.admin.lease_grant(300))
    await fleet.register("gw-1", zone="a", labels={"tier": "edge"}, sessions=5)
    await fleet.register("gw-2", zone="b", labels={"tier": "core"}, sessions=50)
    await fleet.register("gw-3", zone="a", weight=7)
    await etcd.admin.put("/nodes/go-svc", "active\x1b[31m", lease=fleet.lease)
    return fleet


@pytest.fixture
def here(etcd: EtcdServer) -> dict[str, str]:
    """The environment in which commands find the etcd."""
    return {"CLUSTERCTL_ENDPOINTS": etcd.endpoint}


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    """A file with the password `pw`."""
    file = tmp_path / "password"
    file.write_text("pw\n")
    return file


@pytest.fixture
async def yard(etcd: EtcdServer) -> AsyncIterator[Yard]:
    """Nodes to be drained."""
    async with AsyncExitStack() as stack:
        yield Yard(etcd, stack)
