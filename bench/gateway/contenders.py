"""Who is compared: how each is built and started, and what its processes cost."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import rig
from clusterd.child import Child
from clusterd.etcd.process import free_ports

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "bench-gateway"
_START_SECONDS = 30.0
_SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of this bench
# Debian's golang-github-gorilla-websocket-dev puts the sources there.
_GO = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "", "GOCACHE": os.fspath(BUILD / "go-cache")}


@dataclass(frozen=True)
class Contender:
    """A server that takes clients at a port of 127.0.0.1."""

    name: str
    command: Callable[[int, str], Sequence[str]]
    """The command for a port and an etcd."""


def contenders() -> list[Contender]:
    """Build what this machine has the tools for, and return it. Says on stderr what is left out, and why."""
    BUILD.mkdir(parents=True, exist_ok=True)
    found = []
    if importlib.util.find_spec("examples.gateway"):
        (BUILD / "secret").write_text(_SECRET)
        found.append(Contender("clusterd", lambda port, etcd: _node(port, etcd, f"gw-{port}", f"/bench-{port}/")))
    else:
        rig.progress("left out: the gateway itself (examples/gateway isn't there)")
    if _built("Go", "go", ["go", "build", "-o", os.fspath(BUILD / "hub"), "."], HERE / "go-hub", _GO):
        found.append(Contender("go", lambda port, _: [os.fspath(BUILD / "hub"), str(port)]))
        found.append(Contender("go-batch", lambda port, _: [os.fspath(BUILD / "hub"), str(port), "batch"]))
    durable = ["go", "build", "-tags", "sqlite", "-o", os.fspath(BUILD / "hub-durable"), "."]
    if _built("Go with SQLite", "go", durable, HERE / "go-hub", _GO):
        found.append(
            Contender(
                "go-sqlite", lambda port, _: [os.fspath(BUILD / "hub-durable"), str(port), "durable", _file(port)]
            )
        )
    for name in ("package.json", "hub.js"):
        shutil.copy(HERE / "node-hub" / name, BUILD)
    if _built("Node.js", "npm", ["npm", "install", "--silent", "--no-audit", "--no-fund"], BUILD, {}):
        found.append(Contender("node-ws", lambda port, _: ["node", os.fspath(BUILD / "hub.js"), str(port)]))
    return found


def load_client() -> str:
    """Build the load client, and return its path. Raises `SystemExit` where that fails: nothing goes without it."""
    target = os.fspath(BUILD / "load")
    flags = ("-O2", "-std=c11", "-Wall", "-Wextra", "-Werror")
    BUILD.mkdir(parents=True, exist_ok=True)
    if not _built("the load client", "gcc", ["gcc", *flags, "-o", target, "load.c", "ws.c"], HERE / "load", {}):
        raise SystemExit("bench.gateway: the load client needs gcc (Debian: apt-get install gcc libc6-dev)")
    return target


def _built(what: str, tool: str, command: list[str], folder: Path, env: dict[str, str]) -> bool:
    if shutil.which(tool) is None:
        rig.progress(f"left out: {what} ({tool} isn't installed)")
        return False
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if done.returncode:
        rig.progress(f"left out: {what} ({' '.join(command[:2])}: {done.stderr.strip()[-500:]})")
    return done.returncode == 0


def gateway_node(node: str, prefix: str, weight: int) -> Callable[[int, str], Sequence[str]]:
    """Return what makes the command of a node of a fleet, for a port and an etcd."""
    return lambda port, etcd: _node(port, etcd, node, prefix, weight)


def _node(port: int, etcd: str, node: str, prefix: str, weight: int = 100) -> Sequence[str]:
    """One node, its log in SQLite without fsync: of the peers only `go-sqlite` keeps anything on disk."""
    options = {
        "--node": node,
        "--port": str(port),
        "--etcd": etcd,
        "--prefix": prefix,
        "--weight": str(weight),
        "--log": _file(port),
        "--fsync": "never",
        "--secret-file": os.fspath(BUILD / "secret"),
    }
    return [sys.executable, "-m", "examples.gateway", "node", *(part for pair in options.items() for part in pair)]


def _file(port: int) -> str:
    """Return a place for a database of which nothing is there yet."""
    folder = BUILD / f"log-{port}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return os.fspath(folder / "messages.db")


@dataclass
class Server:
    """A contender that runs."""

    child: Child
    port: int

    @property
    def cpu(self) -> float:
        """Processor seconds so far."""
        return rig.cpu_seconds(self.child.pid)

    @property
    def resident(self) -> int:
        """Bytes of memory that it holds."""
        lines = Path(f"/proc/{self.child.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


@contextlib.asynccontextmanager
async def running(contender: Contender, etcd: str) -> AsyncIterator[Server]:
    """Run one while the body does; it takes clients by then."""
    port = free_ports(1)[0]
    child = await Child.spawn(contender.command(port, etcd))
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not _takes_clients(port):  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)
        yield Server(child, port)
    finally:
        await child.kill()
        shutil.rmtree(BUILD / f"log-{port}", ignore_errors=True)


def _takes_clients(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
