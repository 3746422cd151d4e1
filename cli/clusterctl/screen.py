"""Where output goes: data to stdout, words about it to stderr; dressed up at a terminal, plain in a pipe."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from rich.console import Console

from clusterctl.render import tables
from clusterctl.render.tables import Table
from clusterctl.render.text import printable


class Screen:
    """The two streams of one command. `person` tells whether somebody sits at stdout."""

    def __init__(self, *, color: bool = True) -> None:
        self.person = sys.stdout.isatty()
        self.console = Console(
            file=sys.stdout,
            force_terminal=self.person,
            no_color=not color or "NO_COLOR" in os.environ,
            markup=False,
            emoji=False,
            highlight=False,
        )

    def write(self, text: str) -> None:
        """Write text to stdout, at once: whoever reads a pipe sees it when it happens."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def show(self, table: Table, caption: str = "") -> None:
        """Show a table: as a person likes it, or as aligned text for a pipe, without the caption."""
        if self.person:
            self.console.print(tables.for_terminal(table, caption))
        else:
            self.write(tables.aligned(table))


def say(message: str) -> None:
    """Say something to the person, on stderr."""
    sys.stderr.write(f"clusterctl: {printable(message)}\n")
    sys.stderr.flush()


def now() -> datetime:
    """Return the wall-clock time, to compare with the times in records."""
    return datetime.now(UTC)
