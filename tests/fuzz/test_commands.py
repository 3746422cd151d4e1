"""Every command line of both commands: an exit code of the table, words in a line or two, never a traceback."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from clusterctl import main as clusterctl
from hypothesis import example, given
from hypothesis import strategies as st

from clusterd.sidecar import main as clusterd
from tests.fuzz.profiles import fuzzed

NOBODY = "http://127.0.0.1:1"
EXIT_CODES = {0, 2, 3, 4, 5, 6, 7, 8, 130}
VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    st.sampled_from(
        [
            "",
            "gw-1",
            "-",
            "--",
            "a=b",
            "a!=b",
            "1",
            "-1",
            "25%",
            "0%",
            "9" * 5000,
            "1e999",
            "nan",
            "5s",
            "9999999999h",
            "none",
        ]
    ),
    st.sampled_from(
        [
            "\x1b[2J",
            "\udcff",
            "json",
            "jsonl",
            "yaml",
            "table",
            "name",
            "tsv",
            "text",
            "etcdctl",
            "/",
            "/x/",
            "h:1",
            "[::1",
        ]
    ),
    st.sampled_from(
        ["2026-01-31T12:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "500/s", "1/d", "node-x"]
    ),
)


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Yield every command with its options. `demo` starts an etcd: that is for its own test."""
    for name, command in group.commands.items():
        if name == "demo":
            continue
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        yield (
            (*path, name),
            sorted(option for param in command.params for option in param.opts if option.startswith("-")),
        )


COMMANDS = [*commands(clusterctl.cli), (("drain", "status"), ["-w", "-o"])]


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command, some of its options with or without a value, and further words."""
    path, options = draw(st.sampled_from(COMMANDS))
    words = list(path)
    for _ in range(draw(st.integers(0, 4))):
        words += draw(
            st.tuples(st.sampled_from(options)) | st.tuples(st.sampled_from(options), VALUES) | st.tuples(VALUES)
        )
    return words


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings but those here, nobody at the keyboard, no etcd anywhere; logging as it was afterwards."""
    for variable in [each for each in os.environ if each.startswith(("CLUSTERCTL_", "ETCDCTL_", "CLUSTERD_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLUSTERCTL_ENDPOINTS", NOBODY)
    monkeypatch.setenv("CLUSTERCTL_TIMEOUT", "50ms")
    monkeypatch.setenv("CLUSTERD_ETCD", NOBODY)
    monkeypatch.setenv("CLUSTERD_START_TIMEOUT", "0.1")
    monkeypatch.setenv("CLUSTERD_CONTROL", "off")
    monkeypatch.setenv("CLUSTERD_PROBES", "off")
    root, ours = logging.getLogger(), logging.getLogger("clusterd")
    before = root.handlers[:], root.level, ours.handlers[:], ours.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level, ours.handlers[:], ours.level = before


def bare_of_controls(text: str) -> bool:
    return all(char.isprintable() or char == "\n" for char in text)


@fuzzed(120)
@given(lines())
@example(["history", "--since", "9999999999h"])
@example(["drain", "gw-1", "--deadline", "0001-01-01T00:00:00+23:59"])
@example(["nodes", "\udcff"])
@example(["auth", "plan", "--passwords", "\x1b", "--node", "a", "-o", "etcdctl"])
@example(["--password-file", "/", "--user", "u", "nodes"])
def test_clusterctl(alone: None, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    code = clusterctl.run(words)
    _, err = capsys.readouterr()
    assert code in EXIT_CODES, err
    assert "Traceback" not in err
    assert "internal error" not in err
    assert bare_of_controls(err)
    assert code == 0 or err or "doctor" in words


OPTIONS = sorted(option for param in clusterd.run.params for option in param.opts if option != "--start-timeout")


@fuzzed(60)
@given(st.lists(st.tuples(st.sampled_from(OPTIONS), VALUES) | st.tuples(VALUES), max_size=4), st.booleans())
@example([("--address", "h:1"), ("--node", "gw-1")], False)
@example([("--drain-timeout", "\udcff"), ("--zone", "\udcff"), ("--label", "\udcff=\udcff")], True)
@example([("--config", "/")], True)
@example([("--password-file", "/"), ("--user", "u")], True)
@example([("--cacert", "/"), ("--etcd", "https://127.0.0.1:1")], True)
def test_clusterd(
    alone: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    given_options: list[tuple[str, ...]],
    complete: bool,
) -> None:
    needed = ["--node", "gw-1", "--address", "h:1"] if complete else []
    monkeypatch.setattr(sys, "argv", ["clusterd", "run", *needed, *(word for words in given_options for word in words)])
    with pytest.raises(SystemExit) as ended:
        clusterd.main()
    _, err = capsys.readouterr()
    assert (ended.value.code or 0) in EXIT_CODES, err
    assert "Traceback" not in err
    assert bare_of_controls(err)
