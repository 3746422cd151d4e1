"""The demo's gateway nodes, each a process of its own: those of examples/gateway, or `clusterd run` alone."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path

from clusterd.child import Child
from clusterd.errors import ClusterdError
from clusterd.etcd.process import free_ports

_ZONES = 3
_LOG_LINES = 3
_STOP_SECONDS = 20.0


class Gateways:
    """Starts and ends gateway nodes, named `gw-1` and so on; their logs go to files in `directory`.

    With a `checkout` they are message gateways, from its examples/: `urls` is where each takes clients, also when it
    is started again. Without one nobody can connect to them.
    """

    def __init__(self, etcd: str, ttl: int, directory: Path, checkout: Path | None = None) -> None:
        self._etcd = etcd
        self._ttl = ttl
        self._directory = directory
        self._checkout = checkout
        self._ports: dict[str, int] = {}
        self._children: dict[str, Child] = {}
        (directory / "secret").write_text(secrets.token_hex(32))

    def __getitem__(self, name: str) -> Child:
        return self._children[name]

    @property
    def running(self) -> list[str]:
        """The names of the nodes whose process runs."""
        return [name for name, child in self._children.items() if child.running]

    async def start(self, number: int) -> str:
        """Start a node and return its name; it joins a moment later."""
        name = f"gw-{number}"
        with self._log(name).open("ab") as log:
            command = self._command(name, number)
            self._children[name] = await Child.spawn(command, env=environment(self._checkout), stdout=log, stderr=log)
        return name

    @property
    def urls(self) -> list[str]:
        """The URLs for clients of all nodes that were started."""
        return [f"ws://127.0.0.1:{port}/ws" for port in self._ports.values()]

    async def stop(self, names: Iterable[str]) -> list[int]:
        """Stop nodes cleanly, all at once; return their exit codes."""
        return await asyncio.gather(*(self[name].stop(_STOP_SECONDS) for name in names))

    async def kill_all(self) -> None:
        """Kill whatever still runs."""
        await asyncio.gather(*(child.kill() for child in self._children.values()))

    def check(self) -> None:
        """Raise `ClusterdError`, with the end of its log, if a node ended that nobody asked to."""
        for name, child in self._children.items():
            if child.returncode is not None and child.returncode > 0:
                lines = self._log(name).read_text(errors="replace").splitlines()[-_LOG_LINES:]
                raise ClusterdError(f"node {name} ended with code {child.returncode}: {' / '.join(lines)}")

    def _command(self, name: str, number: int) -> list[str]:
        if name not in self._ports:
            self._ports[name] = free_ports(1)[0]
        return [
            *(self._agent(name) if self._checkout is None else self._gateway(name)),
            *("--node", name),
            *("--etcd", self._etcd),
            *("--ttl", str(self._ttl)),
            *("--zone", f"zone-{'abc'[number % _ZONES]}"),
        ]

    def _agent(self, name: str) -> list[str]:
        address = f"127.0.0.1:{self._ports[name]}"
        # They share this host's ports.
        return [sys.executable, "-m", "clusterd", "run", "--address", address, "--control", "off", "--probes", "off"]

    def _gateway(self, name: str) -> list[str]:
        return [
            *(sys.executable, "-m", "examples.gateway", "node", "--port", str(self._ports[name])),
            *("--secret-file", str(self._directory / "secret"), "--log", str(self._directory / f"{name}.db")),
            # A process that is killed loses nothing that the kernel has; a client comes back at once.
            *("--fsync", "never", "--within", "0.3", "--drain-timeout", "5"),
        ]

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"


def environment(checkout: Path | None) -> dict[str, str]:
    """Return the environment for what the demo starts: settings meant for another node must not reach these."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CLUSTERD_")}
    return ours | ({"PYTHONPATH": str(checkout)} if checkout else {})
