"""Whatever a command ends with becomes an exit code and one line."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from clusterctl import main
from clusterctl.doctor.findings import as_document, as_report, as_table, exit_code, fail, ok, summary, warn
from clusterctl.options import Command
from clusterctl.render import tables

from clusterd.errors import ClusterdError, Conflict, InvalidNodeId, NothingMatched, WaitTimeout
from clusterd.etcd.errors import LoginRefused, Unavailable


@pytest.fixture
def failing() -> Iterator[list[BaseException]]:
    """A further command, `fail`, that raises what is put into the list."""
    raised: list[BaseException] = []

    @click.command("fail", cls=Command)
    def command() -> None:
        raise raised[0]

    main.cli.add_command(command)
    yield raised
    del main.cli.commands["fail"]


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ClusterdError("broke"), 1, "clusterctl: broke\n"),
        (InvalidNodeId("bad id"), 2, "clusterctl: bad id\n"),
        (Unavailable("nobody there"), 3, "clusterctl: nobody there\n"),
        (NothingMatched("no node x"), 4, "clusterctl: no node x\n"),
        (Conflict("held"), 5, "clusterctl: held\n"),
        (LoginRefused("no"), 5, "clusterctl: no\n"),
        (WaitTimeout("too late"), 7, "clusterctl: too late\n"),
        (ClusterdError("a\x1b[31mb\nc"), 1, "clusterctl: a\\x1b[31mb\\nc\n"),
        (ZeroDivisionError("oops"), 1, "clusterctl: internal error: ZeroDivisionError: oops (--debug shows where)\n"),
        (click.UsageError("wrong"), 2, "Error: wrong\n"),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)
def test_the_exit_code_of_each_kind_of_error(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    failing.append(error)
    assert main.run(["fail"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith(line)
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("arguments", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_shows_where_it_broke(
    failing: list[BaseException], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    failing.append(ZeroDivisionError("oops"))
    assert main.run(arguments) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["nodez"], ["--nope"], ["nodes", "-o", "xml"], ["node"], ["nodes", "--sort", "x"]]
)
def test_usage_errors(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main.run(arguments) == 2
    assert "Error: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nodes", "--help"], ["-h"]])
def test_help_is_no_error(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main.run(arguments) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([ok("a", "fine"), warn("b", "hm")], 0),
        ([ok("quorum", "there"), fail("alarms", "NOSPACE")], 5),
        ([fail("quorum", "gone"), fail("endpoint", "down")], 3),
    ],
)
def test_the_doctors_exit_code(findings: list, code: int) -> None:
    assert exit_code(findings) == code
    assert as_document(findings)["healthy"] is (code == 0)


def test_the_doctors_report_says_what_to_do() -> None:
    findings = [ok("a", "fine"), fail("b", "broken", "mend it")]
    assert tables.aligned(as_table(findings)).splitlines() == [
        "LEVEL  CHECK  FINDING  WHAT TO DO",
        "ok     a      fine     -",
        "fail   b      broken   mend it",
    ]
    assert [row[-1].text for row in as_report(findings).rows] == ["fine", "broken", "→ mend it"]
    assert summary(findings) == "1 ok, 0 to look at, 1 failed"
