"""The demo's gateway nodes: `clusterd run`, each a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from clusterd.child import Child
from clusterd.errors import ClusterdError
from clusterd.etcd.process import free_ports

_ZONES = 3
_LOG_LINES = 3


class Gateways:
    """Starts and ends gateway nodes, named `gw-1` and so on; their logs go to files in `directory`."""

    def __init__(self, etcd: str, ttl: int, directory: Path) -> None:
        self._etcd = etcd
        self._ttl = ttl
        self._directory = directory
        self._children: dict[str, Child] = {}

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
            self._children[name] = await Child.spawn(command, env=_environment(), stdout=log, stderr=log)
        return name

    async def stop(self, names: Iterable[str]) -> list[int]:
        """Stop nodes cleanly, all at once; return their exit codes."""
        return await asyncio.gather(*(self[name].stop() for name in names))

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
        return [
            *(sys.executable, "-m", "clusterd", "run"),
            *("--node", name),
            *("--address", f"127.0.0.1:{free_ports(1)[0]}"),
            *("--etcd", self._etcd),
            *("--control", "off", "--probes", "off"),  # they share this host's ports
            *("--ttl", str(self._ttl)),
            *("--zone", f"zone-{'abc'[number % _ZONES]}"),
        ]

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"


def _environment() -> dict[str, str]:
    # Settings meant for another node must not reach these.
    return {name: value for name, value in os.environ.items() if not name.startswith("CLUSTERD_")}
