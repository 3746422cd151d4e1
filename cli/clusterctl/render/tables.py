"""Tables, in three forms: for a person at a terminal, as aligned text for a pipe, and as TSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import rich.box
import rich.table
from rich.cells import cell_len
from rich.text import Text

from clusterctl.render.text import printable

_WHOLE = 32


@dataclass(frozen=True, slots=True)
class Cell:
    """One value: its text, empty where there is none, and the rich style it has at a terminal.

    `brief` is what a person at a terminal gets to see in its place, such as an age for a time.
    """

    text: str = ""
    style: str = ""
    brief: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """A column: its title, and whether it holds numbers, which are never folded where a terminal is narrow.

    One that is `whole` isn't folded either, as long as that is up to `_WHOLE` wide. One that is a `note` isn't there
    at a terminal where no row has a value for it; its values stand below the table where that would be too wide.
    """

    title: str
    number: bool = False
    whole: bool = False
    note: bool = False


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
    columns = _columns(table)
    for heading, cells in columns:
        shown.add_column(
            heading.title,
            justify="right" if heading.number else "left",
            no_wrap=heading.number or (heading.whole and all(cell.cell_len <= _WHOLE for cell in cells)),
            overflow="fold",
        )
    for row in zip(*(cells for _, cells in columns), strict=True):
        shown.add_row(*row)
    return shown


def without_notes(table: Table) -> Table:
    """Return the table without its notes."""
    kept = [index for index, heading in enumerate(table.headings) if not heading.note]
    rows = [[row[index] for index in kept] for row in table.rows]
    return Table([table.headings[index] for index in kept], list(rows), table.absent)


def notes(table: Table) -> list[str]:
    """Return the notes as lines, each with what its row is about: the first cell."""
    marked = [(index, heading.title.lower()) for index, heading in enumerate(table.headings) if heading.note]
    return [
        printable(f"{row[0].text} {title}: {row[index].text}")
        for row in table.rows
        for index, title in marked
        if row[index].text
    ]


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


def _columns(table: Table) -> list[tuple[Heading, list[Text]]]:
    """Return what a terminal shows, by column."""
    cells = list(zip(*table.rows, strict=True)) or [()] * len(table.headings)
    return [
        (heading, [_shown(cell, table.absent) for cell in column])
        for heading, column in zip(table.headings, cells, strict=True)
        if not heading.note or any(cell.text for cell in column)
    ]


def _shown(cell: Cell, absent: str) -> Text:
    return Text(printable(cell.brief or cell.text), style=cell.style) if cell.text else Text(absent, style="dim")


def _line(cells: Iterable[str], widths: Iterable[int], headings: Iterable[Heading]) -> str:
    columns = zip(cells, widths, headings, strict=True)
    parts = [_padded(cell, width, right=heading.number) for cell, width, heading in columns]
    return "  ".join(parts).rstrip()


def _padded(cell: str, width: int, *, right: bool) -> str:
    blank = " " * (width - cell_len(cell))  # a terminal gives some characters two columns, and some none
    return blank + cell if right else cell + blank
