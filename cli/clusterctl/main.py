"""The command `clusterctl`."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Sequence

import click

from clusterctl.auth import auth
from clusterctl.completion import completion
from clusterctl.demo import demo
from clusterctl.doctor import doctor
from clusterctl.drain import cordon, drain, uncordon, undrain
from clusterctl.history import history
from clusterctl.leader import leader
from clusterctl.node import node
from clusterctl.nodes import nodes
from clusterctl.options import Group, debugging
from clusterctl.route import route
from clusterctl.screen import say
from clusterctl.slots import slots
from clusterctl.watch import watch
from clusterd.errors import ClusterdError
from clusterd.escape import printable_lines
from clusterd.version import __version__

_INTERRUPTED = 130


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="These options may also stand after the command. Environment: CLUSTERCTL_ENDPOINTS and so on for each of "
    "them; where that is not set, etcdctl's ETCDCTL_ENDPOINTS, _CACERT, _CERT, _KEY, _USER and _PASSWORD.",
)
@click.version_option(__version__, prog_name="clusterctl")
def cli() -> None:
    """Inspect and steer a fleet of gateway nodes, from anywhere that reaches its etcd."""


_COMMANDS = (
    *(nodes, node, route, slots, leader),
    *(drain, undrain, cordon, uncordon, history),
    *(watch, doctor, auth, demo, completion),
)
for command in _COMMANDS:
    cli.add_command(command)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Whatever goes wrong is said in a line on stderr."""
    try:
        return cli.main(list(arguments), prog_name="clusterctl", standalone_mode=False) or 0
    except click.ClickException as error:
        _show(error)
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except ClusterdError as error:
        say(str(error))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: a person gets a line, --debug the rest
        return _internal_error(error, debug=debugging())


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        # Names in records may hold what the terminal's encoding has not.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(run(sys.argv[1:]))


def _show(error: click.ClickException) -> None:
    """Show what click has to say; it repeats what the command line holds."""
    words = io.StringIO()
    error.show(words)
    sys.stderr.write(printable_lines(words.getvalue()))


def _internal_error(error: Exception, *, debug: bool) -> int:
    if debug:
        sys.stderr.write(printable_lines("".join(traceback.format_exception(error))))
    say(f"internal error: {type(error).__name__}: {error}" + ("" if debug else " (--debug shows where)"))
    return ClusterdError.exit_code
