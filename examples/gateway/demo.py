"""A local etcd, a few gateways and the router before them as processes, for `make gateway`."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import click

from clusterd import UsageError
from clusterd.etcd.embedded import EmbeddedEtcd
from clusterd.testing import AgentProcess

_STOP_SECONDS = 30.0
_START_SECONDS = 30.0
_TTL = "3"
_HELP = """
  the page        {door}/
                  open it twice: as {door}/?user=ann and {door}/?user=bob
  the nodes       {nodes}
                  each has the page too, without the router before it
  look at them    {clusterctl} --endpoints {etcd} nodes -w
  drain a node    {clusterctl} --endpoints {etcd} drain gw-2 -y
  kill a node     kill -9 {victim}

Ctrl-C ends it.
"""


async def run_fleet(nodes: int, port: int, log: str) -> None:
    """Start an etcd, gateways and a router, say where they are, and stop them when asked to.

    Raises `UsageError` for a port that is taken.
    """
    _check_free(port)
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clusterd-gateway-")))
        (directory / "secret").write_text(secrets.token_hex(32))
        with _stop_at_signals() as stop:
            etcd = await stack.enter_async_context(EmbeddedEtcd())
            names = [f"gw-{number}" for number in range(1, nodes + 1)]
            fleet = [await stack.enter_async_context(_gateway(name, etcd.endpoint, directory, log)) for name in names]
            pages = [(await each.wait_for_line(r"takes clients at (\S+)/", _START_SECONDS))[1] for each in fleet]
            router = await stack.enter_async_context(_router(etcd.endpoint, port))
            door = (await router.wait_for_line(r"listening on (\S+),", _START_SECONDS))[1]
            click.echo(
                _HELP.format(
                    door=door,
                    nodes=", ".join(f"{name} {page}/" for name, page in zip(names, pages, strict=True)),
                    etcd=etcd.endpoint,
                    clusterctl=_clusterctl(),
                    victim=f"{fleet[-1].pid}  # {names[-1]}",
                )
            )
            await stop.wait()
        click.echo("stopping: the router closes, then each node hands over what it keeps", err=True)
        for process in (router, *fleet):
            if process.running:
                await process.terminate(_STOP_SECONDS)


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise UsageError(f"can't have port {port}: {why}; give another one, or 0 for a free one") from error


def _clusterctl() -> str:
    """Return how clusterctl can be called from here."""
    beside = Path(sys.executable).with_name("clusterctl")
    if shutil.which("clusterctl") or not beside.exists():
        return "clusterctl"
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)


def _gateway(node: str, etcd: str, directory: Path, log: str) -> AgentProcess:
    return AgentProcess(
        *("--node", node, "--etcd", etcd, "--secret-file", str(directory / "secret")),
        *("--log", log or str(directory / f"{node}.db"), "--ttl", _TTL, "--drain-timeout", "5"),
        command=(sys.executable, "-m", "examples.gateway", "node"),
    )


def _router(etcd: str, port: int) -> AgentProcess:
    """Return a router that takes each user to the node where their mailbox is, and goes around nodes that fail."""
    return AgentProcess(
        *("--listen", f"127.0.0.1:{port}", "--etcd", etcd, "--ttl", _TTL, "--hash-by", "user", "--grace", "1"),
        command=(sys.executable, "-m", "examples.router"),
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
