"""What the membership benches share: registrations to fill an etcd with, worker processes, medians and tables."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from clusterd import Node
from clusterd.etcd import ops
from clusterd.etcd.client import Client
from clusterd.etcd.lease import Lease
from clusterd.keys import Keyspace
from clusterd.node import encode_node

KEYS = Keyspace()
_BATCH = 100
_LEASE_SECONDS = 3600
_LINE_LIMIT = 64 * 1024 * 1024


def node(number: int, **changes: Any) -> Node:
    """Return a node as a gateway would register it, with every field in use."""
    return Node(
        id=f"gw-{number:05}",
        address=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:8080",
        zone=f"az-{number % 3}",
        labels={"pool": "edge", "version": "1.42.0"},
        endpoints={"ws": f"wss://gw-{number:05}.example.com/ws"},
        instance=f"{number:032x}",
        started_at="2024-05-01T12:00:00.000+00:00",
        agent="clusterd/0.1.0",
    ).replace(**changes)


async def register(client: Client, count: int) -> None:
    """Put that many registrations under one long lease."""
    lease = await Lease.grant(client, _LEASE_SECONDS)
    for first in range(0, count, _BATCH):
        nodes = [node(number) for number in range(first, min(first + _BATCH, count))]
        await client.txn([], [ops.put(KEYS.node(each.id), encode_node(each), lease=lease.id) for each in nodes], [])


class Worker:
    """A process of a bench, see `bench.cues`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def heard(self) -> Any:
        """Return what it says next. Raises `RuntimeError` if it ended instead."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"worker {self.pid} ended with code {await self._process.wait()}")
        return json.loads(line)

    def cue(self) -> None:
        """Tell it to go on."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def end(self) -> None:
        """Kill it, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@contextlib.asynccontextmanager
async def workers(*commands: Sequence[object]) -> AsyncIterator[list[Worker]]:
    """Start one worker per command (a module of this package and its arguments), ready when the body starts."""
    started: list[Worker] = []
    try:
        for module, *arguments in commands:
            started.append(
                Worker(
                    await asyncio.create_subprocess_exec(
                        *(sys.executable, "-m", f"bench.{module}", *map(str, arguments)),
                        stdin=asyncio.subprocess.PIPE,
                        stdout=asyncio.subprocess.PIPE,
                        limit=_LINE_LIMIT,
                    )
                )
            )
        for worker in started:
            await worker.heard()
        yield started
    finally:
        for worker in started:
            await worker.end()


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far (Linux, to a hundredth of a second)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of the values don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


median = statistics.median


def ms(seconds: float) -> str:
    """Return seconds as milliseconds, to about three digits."""
    value = seconds * 1000
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *notes: str) -> None:
    """Print a table: the first column is text, the others figures."""
    table = Table()
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"\n[bold]{title}", highlight=False)
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)


def progress(text: str) -> None:
    """Say on stderr what is being done."""
    print(text, file=sys.stderr, flush=True)
