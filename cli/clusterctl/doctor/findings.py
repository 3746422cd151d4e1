"""What the doctor found, and what follows from it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clusterctl.render.tables import Cell, Heading, Table

UNREACHABLE_EXIT = 3
FAILED_EXIT = 5

_QUORUM_CHECKS = frozenset({"quorum"})


class Level(enum.StrEnum):
    """How bad a finding is: nothing to do, worth doing something about, or not working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
_MARKS = {Level.OK: "✔", Level.WARN: "!", Level.FAIL: "✘"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: of which check, how bad, what is the case, and what to do about it."""

    check: str
    level: Level
    text: str
    advice: str = ""


def ok(check: str, text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, Level.OK, text)


def warn(check: str, text: str, advice: str = "") -> Finding:
    """Return a finding that something should be done about."""
    return Finding(check, Level.WARN, text, advice)


def fail(check: str, text: str, advice: str = "") -> Finding:
    """Return a finding that something does not work."""
    return Finding(check, Level.FAIL, text, advice)


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 0 when nothing failed, 3 without a quorum to talk to, 5 when anything else failed."""
    failed = {finding.check for finding in findings if finding.level is Level.FAIL}
    if failed & _QUORUM_CHECKS:
        return UNREACHABLE_EXIT
    return FAILED_EXIT if failed else 0


def as_table(findings: Sequence[Finding]) -> Table:
    """Return the findings as a table for a pipe: one line each."""
    headings = [Heading("LEVEL"), Heading("CHECK"), Heading("FINDING"), Heading("WHAT TO DO")]
    rows = [
        [Cell(finding.level.value), Cell(finding.check), Cell(finding.text), Cell(finding.advice)]
        for finding in findings
    ]
    return Table(headings, list(rows))


def as_report(findings: Sequence[Finding]) -> Table:
    """Return the findings as a table for a person: what to do stands below what is the case."""
    table = Table([Heading(""), Heading("CHECK"), Heading("FINDING")], absent="")
    for finding in findings:
        style = _STYLES[finding.level]
        table.rows.append([Cell(_MARKS[finding.level], style), Cell(finding.check, "bold"), Cell(finding.text)])
        if finding.advice:
            table.rows.append([Cell(), Cell(), Cell(f"→ {finding.advice}", "italic dim")])
    return table


def as_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the findings as JSON shows them."""
    return {
        "healthy": exit_code(findings) == 0,
        "findings": [
            {"check": finding.check, "level": finding.level.value, "finding": finding.text, "advice": finding.advice}
            for finding in findings
        ],
    }


def summary(findings: Sequence[Finding]) -> str:
    """Return how many findings there are of each level."""
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    return f"{counts[Level.OK]} ok, {counts[Level.WARN]} to look at, {counts[Level.FAIL]} failed"
