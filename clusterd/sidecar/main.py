"""The command `clusterd`."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from clusterd.errors import ClusterdError
from clusterd.escape import printable, printable_lines
from clusterd.exporting import exporting
from clusterd.sidecar import logs
from clusterd.sidecar.daemon import serve
from clusterd.sidecar.prestop import (
    ControlAddress,
    ControlClient,
    drain_and_wait,
    marked_at_end,
    read_token,
    wait_for_marker,
)
from clusterd.sidecar.settings import load
from clusterd.status import DrainProgress
from clusterd.version import __version__

_ADDRESS = "HOST:PORT, unix:PATH or off"
_FILE = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="clusterd")
def cli() -> None:
    """Keep gateway nodes together through etcd."""


@cli.command()
@click.option("--node", metavar="ID", help="Node id, unique in the fleet.")
@click.option("--address", metavar="HOST:PORT", help="Where the gateway can be reached.")
@click.option("--etcd", metavar="URL,URL", help="etcd endpoints.  [default: http://127.0.0.1:2379]")
@click.option("--prefix", metavar="PREFIX", help="What all keys start with.  [default: /]")
@click.option("--ttl", metavar="SECONDS", help="After which silence the node is counted out.  [default: 10]")
@click.option("--weight", metavar="N", help="Share of the slots, relative to other nodes.  [default: 100]")
@click.option("--zone", metavar="ZONE", help="Failure domain.")
@click.option("--label", metavar="K=V", multiple=True, help="A label; can be given several times.")
@click.option("--endpoint", metavar="NAME=URL", multiple=True, help="What the gateway offers; can be repeated.")
@click.option("--starting-until", metavar="HOST:PORT", help="Own no keys until the gateway accepts connections here.")
@click.option("--replace", is_flag=True, default=None, help="Take the node id over from a live instance.")
@click.option("--user", metavar="NAME", help="etcd user; its password comes from a file or CLUSTERD_PASSWORD.")
@click.option("--password-file", metavar="FILE", help="File with the etcd user's password.")
@click.option("--cacert", metavar="FILE", help="CA to trust for https endpoints.")
@click.option("--cert", metavar="FILE", help="Client certificate.")
@click.option("--key", metavar="FILE", help="Client certificate's key.")
@click.option("--control", metavar="ADDRESS", help=f"Listen for the gateway: {_ADDRESS}.  [default: 127.0.0.1:8470]")
@click.option("--probes", metavar="ADDRESS", help=f"Listen for probes: {_ADDRESS}.  [default: 0.0.0.0:8471]")
@click.option("--token-file", metavar="FILE", help="Bearer tokens, a line each, for what changes something.")
@click.option("--control-cert", metavar="FILE", help="Certificate to serve control by https with.")
@click.option("--control-key", metavar="FILE", help="That certificate's key.")
@click.option("--drain-hook", metavar="URL", help="POST here how many sessions to close: http(s)://… or unix:…")
@click.option("--sessions-hook", metavar="URL", help="GET the number of sessions from here.")
@click.option("--marker", metavar="FILE", help="Removed at start: what `clusterd prestop` writes at the end.")
@click.option("--start-timeout", metavar="SECONDS", help="How long to wait for etcd at start.  [default: 30]")
@click.option("--drain-timeout", metavar="SECONDS", help="How long SIGTERM waits for sessions to go.  [default: 30]")
@click.option("--log-format", metavar="text|json", help="Form of the log on stderr.  [default: text]")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [default: info]")
@click.option("--config", metavar="FILE", envvar="CLUSTERD_CONFIG", type=click.Path(path_type=Path), help="TOML file.")
def run(config: Path | None, **flags: Any) -> None:
    """Register this node and keep it registered, until SIGTERM drains it. A second signal ends the process at once.

    Every setting can also come from the environment (CLUSTERD_TTL for --ttl) or from the file (`ttl = 10`). A flag
    goes before the environment, the environment before the file. Where it listens is printed, a line for each listener:
    port 0 takes a free one.
    """
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    settings = load(given, os.environ, config)
    logs.set_up(settings.log_format, settings.log_level, settings.node)
    with exporting("clusterd", os.environ):
        asyncio.run(serve(settings))


@cli.command()
@click.option(
    "--control",
    metavar="ADDRESS",
    envvar="CLUSTERD_CONTROL",
    default="127.0.0.1:8470",
    show_default=True,
    help="The daemon's control listener: HOST:PORT, unix:PATH or a URL.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    envvar="CLUSTERD_DRAIN_TIMEOUT",
    default=30.0,
    show_default=True,
    help="How long to wait; sessions are forced shortly before.",
)
@click.option("--settle", metavar="SECONDS", type=click.FloatRange(0), help="Before the first session moves.")
@click.option("--rate", metavar="N", type=click.FloatRange(0, min_open=True), help="Sessions to move a second.")
@click.option("--over", metavar="SECONDS", type=click.FloatRange(0, min_open=True), help="Spread them over this time.")
@click.option("--marker", metavar="FILE", envvar="CLUSTERD_MARKER", type=_FILE, help="Write this file at the end.")
@click.option("--token-file", metavar="FILE", envvar="CLUSTERD_TOKEN_FILE", type=_FILE, help="Token for the listener.")
@click.option("--cacert", metavar="FILE", type=_FILE, help="CA to trust for an https control listener.")
@click.option("--wait-for", metavar="FILE", type=_FILE, help="Only wait for this file: for the gateway's own hook.")
def prestop(
    control: str,
    timeout: float,
    marker: Path | None,
    token_file: Path | None,
    cacert: Path | None,
    wait_for: Path | None,
    **terms: float | None,
) -> None:
    """Drain the node of the daemon beside, and wait for that: what a Kubernetes preStop hook runs.

    Exit code 0 when drained, 2 for options that can't be used, 3 when the daemon is gone, 5 when it refuses, 6 when
    sessions were forced or are left, 7 when the file of --wait-for didn't come. The marker is written in any case.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # not without the marker
    if wait_for is not None:
        asyncio.run(wait_for_marker(wait_for, timeout))
        return
    with marked_at_end(marker):
        token = read_token(token_file) if token_file is not None else None
        client = ControlClient(ControlAddress.parse(control), token, cacert)
        progress = asyncio.run(
            _drain(client, timeout, {name: term for name, term in terms.items() if term is not None})
        )
        click.echo(f"clusterd: drained, {progress.moved} sessions moved", err=True)


async def _drain(client: ControlClient, seconds: float, terms: Mapping[str, float]) -> DrainProgress:
    async with client:
        return await drain_and_wait(client, seconds, lambda line: click.echo(f"clusterd: {line}", err=True), terms)


def main() -> None:
    """Run the command; what a person can mend is one line on stderr, and the exit code of its kind."""
    try:
        sys.exit(cli.main(prog_name="clusterd", standalone_mode=False))
    except click.ClickException as error:
        words = io.StringIO()
        error.show(words)
        sys.stderr.write(printable_lines(words.getvalue()))
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except ClusterdError as error:
        click.echo(f"clusterd: {printable(str(error))}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
