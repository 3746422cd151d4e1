"""The command `clusterd`."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from pathlib import Path
from typing import Any

import click

from clusterd.errors import ClusterdError
from clusterd.escape import printable, printable_lines
from clusterd.sidecar import logs
from clusterd.sidecar.daemon import serve
from clusterd.sidecar.settings import load
from clusterd.version import __version__

_ADDRESS = "HOST:PORT, unix:PATH or off"


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
    asyncio.run(serve(settings))


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
