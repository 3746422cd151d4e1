"""Tables, in three forms: for a person at a terminal, as aligned text for a pipe, and as TSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import rich.box
import rich.table
from rich.cells import cell_len
from rich.text import Text

from clusterctl.render.text import printable


@dataclass(frozen=True, slots=True)
class Cell:
    """One value: its text, empty where there is none, and the rich style it has at a terminal."""

    text: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """A column: its title, and whether it holds numbers, which are never folded where a terminal is narrow."""

    title: str
    number: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Headings, and rows that have a cell for each; `absent` stands where a value is missing."""

    headings: Sequence[Heading]
    rows: list[Sequence[Cell]] = field(default_factory=list)
    absent: str = "-"


def for_terminal(table: Table, caption: str = "") -> rich.table.Table:
    """Return the table as a person likes to see it; nothing in a cell is taken for markup."""
    shown = rich.table.Table(
        box=rich.box.SIMPLE_HEAD,
        header_style="bold",
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
        caption=Text(caption, style="dim") if caption else None,
        caption_justify="left",
    )
    for heading in table.headings:
        shown.add_column(
            heading.title,
            justify="right" if heading.number else "left",
            no_wrap=heading.number,
            overflow="fold",
        )
    for row in table.rows:
        shown.add_row(*(_shown(cell, table.absent) for cell in row))
    return shown


def aligned(table: Table) -> str:
    """Return the table as text with aligned columns, nothing cut."""
    lines = [[heading.title for heading in table.headings]]
    lines += [[printable(cell.text) or table.absent for cell in row] for row in table.rows]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(cells, widths, table.headings) for cells in lines)


def tsv(table: Table) -> str:
    """Return the table as tab-separated values under a heading, an absent value as nothing."""
    lines = [[heading.title.lower() for heading in table.headings]]
    lines += [[printable(cell.text) for cell in row] for row in table.rows]
    return "\n".join("\t".join(line) for line in lines)


def _shown(cell: Cell, absent: str) -> Text:
    return Text(printable(cell.text), style=cell.style) if cell.text else Text(absent, style="dim")


def _line(cells: Iterable[str], widths: Iterable[int], headings: Iterable[Heading]) -> str:
    columns = zip(cells, widths, headings, strict=True)
    parts = [_padded(cell, width, right=heading.number) for cell, width, heading in columns]
    return "  ".join(parts).rstrip()


def _padded(cell: str, width: int, *, right: bool) -> str:
    blank = " " * (width - cell_len(cell))  # a terminal gives some characters two columns, and some none
    return blank + cell if right else cell + blank
