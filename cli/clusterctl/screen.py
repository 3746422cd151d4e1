"""Where output goes: data to stdout, words about it to stderr; dressed up at a terminal, plain in a pipe."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

from clusterctl.render import tables
from clusterctl.render.tables import Table
from clusterctl.render.text import printable

_UNBOUNDED = 1_000_000


class Screen:
    """The two streams of one command. `person` tells whether somebody sits at stdout."""

    def __init__(self, *, color: bool = True) -> None:
        self.person = sys.stdout.isatty()
        self.console = _console(sys.stdout, color=color)
        self.stderr = _console(sys.stderr, color=color)

    def write(self, text: str) -> None:
        """Write text to stdout, at once: whoever reads a pipe sees it when it happens."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def show(self, table: Table, caption: str = "", *, fit: bool = True) -> None:
        """Show a table: as a person likes it, or as aligned text for a pipe, without the caption.

        It is folded to `fit` a narrow terminal, with its notes below it, or else left for the terminal to wrap.
        """
        if not self.person:
            self.write(tables.aligned(table))
            return
        shown = tables.for_terminal(table, caption)
        natural = Measurement.get(self.console, self.console.options.update(max_width=_UNBOUNDED), shown).maximum
        notes = tables.notes(table) if fit and natural > self.console.width else []
        if not fit:
            self.console.width = max(self.console.width, natural)
        self.console.print(tables.for_terminal(tables.without_notes(table), caption) if notes else shown)
        for note in notes:
            self.console.print(Text(note))

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """Show on stderr that something takes a moment, where a person waits for it."""
        return self.stderr.status(what) if self.person else nullcontext()


def say(message: str) -> None:
    """Say something to the person, on stderr."""
    sys.stderr.write(f"clusterctl: {printable(message)}\n")
    sys.stderr.flush()


def _console(stream: TextIO, *, color: bool) -> Console:
    # Without colours of our own choice rich looks at NO_COLOR.
    no_color = None if color else True
    return Console(
        file=stream, force_terminal=stream.isatty(), no_color=no_color, markup=False, emoji=False, highlight=False
    )


def now() -> datetime:
    """Return the wall-clock time, to compare with the times in records."""
    return datetime.now(UTC)


def person_to_ask() -> bool:
    """Whether somebody sits there who can be asked something."""
    return sys.stdin.isatty() and sys.stderr.isatty()
