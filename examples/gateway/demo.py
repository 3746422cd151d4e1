"""A local etcd and a few gateways as processes, for `make gateway`."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import click

from clusterd.etcd.embedded import EmbeddedEtcd
from clusterd.etcd.process import free_ports
from clusterd.testing import AgentProcess

_STOP_SECONDS = 30.0
_HELP = """
  the page        {page}
                  open it twice, on two of them if you like: {others}
  drain a node    {clusterctl} --endpoints {etcd} drain gw-2 -y
  look at them    {clusterctl} --endpoints {etcd} nodes -w

Ctrl-C ends it.
"""


async def run_fleet(nodes: int, port: int, log: str) -> None:
    """Start an etcd and gateways, say where they are, and stop them when asked to."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clusterd-gateway-")))
        (directory / "secret").write_text(secrets.token_hex(32))
        etcd = await stack.enter_async_context(EmbeddedEtcd())
        ports = [port or free_ports(1)[0], *free_ports(nodes - 1)]
        fleet = [
            await stack.enter_async_context(_gateway(f"gw-{number}", etcd.endpoint, client_port, directory, log))
            for number, client_port in enumerate(ports, 1)
        ]
        with _stop_at_signals() as stop:
            for gateway in fleet:
                await gateway.wait_for_line("takes clients at", 30)
            pages = [f"http://127.0.0.1:{each}/" for each in ports]
            others = " ".join(pages[1:])
            click.echo(_HELP.format(page=pages[0], others=others, etcd=etcd.endpoint, clusterctl=_clusterctl()))
            await stop.wait()
        click.echo("stopping: each node sends its clients elsewhere and hands over what it keeps", err=True)
        for gateway in fleet:
            if gateway.running:
                await gateway.terminate(_STOP_SECONDS)


def _clusterctl() -> str:
    """Return how clusterctl can be called from here."""
    beside = Path(sys.executable).with_name("clusterctl")
    if shutil.which("clusterctl") or not beside.exists():
        return "clusterctl"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)


def _gateway(node: str, etcd: str, port: int, directory: Path, log: str) -> AgentProcess:
    return AgentProcess(
        *("--node", node, "--etcd", etcd, "--port", str(port), "--secret-file", str(directory / "secret")),
        *("--log", log or str(directory / f"{node}.db"), "--ttl", "3", "--drain-timeout", "5"),
        command=(sys.executable, "-m", "examples.gateway", "node"),
    )


@contextmanager
def _stop_at_signals() -> Iterator[asyncio.Event]:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
