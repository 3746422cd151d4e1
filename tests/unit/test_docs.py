"""What the documentation names is there: tests, files, modules, targets of make, commands and their flags."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from clusterctl.drain import parts
from clusterctl.main import cli as clusterctl

from clusterd.sidecar.main import cli as clusterd

ROOT = Path(__file__).parents[2]
RELIABILITY = ROOT / "docs/reliability.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "helm/clusterd/README.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUPS = {"clusterctl": clusterctl, "clusterd": clusterd}
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
IN_BLOCK = re.compile(r"^(?:    |\$ )?((?:clusterctl|clusterd) [a-z-].*(?:\\\n.*)*)", re.MULTILINE)
FLAG = re.compile(r"(?<![\w-])--?[a-zA-Z][a-z-]*")


@cache
def names_of_tests() -> frozenset[str]:
    """Return the names of all tests, without `test_`, and of their classes."""
    files = (ROOT / "tests").rglob("test_*.py")
    return frozenset(name for path in files for name in re.findall(r"(?:def test_|class )(\w+)", path.read_text()))


def is_there(name: str) -> bool:
    if name.endswith("…"):
        return any(test.startswith(name[:-1]) for test in names_of_tests())
    if "/" in name:
        return (ROOT / name).exists() or (ROOT / f"{name}.py").exists()
    if name.startswith("test_"):
        return any((ROOT / "tests").rglob(f"{name}.py"))
    return name in names_of_tests()


def named_tests() -> list[str]:
    """Return what docs/reliability.md calls tests by."""
    words = {"min_active", "max_unavailable"}  # terms of a drain
    found = re.findall(r"`([a-z][A-Za-z0-9_/.]*[a-z0-9]…?|Test[A-Z]\w+)`", RELIABILITY.read_text())
    return sorted({name for name in found if re.search("[_…/]|^Test", name)} - words)


@pytest.mark.parametrize("name", named_tests())
def test_a_test_that_a_promise_names_is_there(name: str) -> None:
    assert is_there(name)


def test_every_fact_has_a_row() -> None:
    rows = re.findall(r"^\| (\d+) \|.*\| (.+) \|$", RELIABILITY.read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 26))
    assert all("`" in test or "no test:" in test for _, test in rows)


def test_every_promise_names_a_fault_and_a_test() -> None:
    tables = RELIABILITY.read_text().partition("## The whole fleet at once")[0]
    rows = [line for line in tables.splitlines() if line.startswith("| ") and not line.startswith("| fault |")]
    assert len(rows) > 60
    for row in rows:
        fault, promise, test = (cell.strip() for cell in row.strip("|").split(" | "))
        assert fault, row
        assert promise, row
        assert "`" in test, row


def texts(pattern: str) -> list[tuple[str, str]]:
    """Return what the documents have of that kind, each with the name of its document."""
    found = {(path.name, text) for path in DOCUMENTS for text in re.findall(pattern, path.read_text())}
    return sorted(found)


@pytest.mark.parametrize(
    ("where", "path"), texts(r"`((?:(?:tests|docs|examples|helm|bench|\.ci)/[\w./-]*\w)|(?:clusterd|cli)/[\w/]+\.py)`")
)
def test_a_file_that_is_named_is_there(where: str, path: str) -> None:
    assert (ROOT / path).exists() or (ROOT / f"{path}.py").exists(), where


@pytest.mark.parametrize(("where", "module"), texts(r"python -m ((?:tests|bench|clusterd|clusterctl)[\w.]*)"))
def test_a_module_that_is_to_be_run_is_there(where: str, module: str) -> None:
    assert importlib.util.find_spec(module.rstrip(".")), where


@pytest.mark.parametrize(("where", "target"), texts(r"(?:`|^|    )make ([a-z][a-z-]*)"))
def test_a_target_of_make_that_is_named_is_there(where: str, target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), where


def command_lines() -> Iterator[tuple[str, str]]:
    """Yield each command line of the documents, on one line and without its comment."""
    for path in DOCUMENTS:
        text = path.read_text()
        found = [line for line in INLINE.findall(text) if line.startswith(("clusterctl ", "clusterd "))]
        for line in [*found, *IN_BLOCK.findall(text)]:
            if not re.match(r"clusterd (?!run|prestop)", line):  # prose about clusterd
                yield path.name, " ".join(re.sub(r"\\\n", " ", line).partition("  #")[0].split())


def command_of(line: str) -> tuple[click.Command, list[click.Command]]:
    """Return the command that a line is about, and the groups above it, whose flags may stand there too."""
    command: click.Command = GROUPS[line.split(maxsplit=1)[0]]
    above: list[click.Command] = []
    for word in re.sub(r"--timeout 2s ", "", line).split()[1:]:
        below = parts._PARTS if command.name == "drain" else getattr(command, "commands", {})
        if word not in below:
            assert not isinstance(command, click.Group) or not word[0].isalpha(), f"{line}: there is no {word}"
            break
        above, command = [*above, command], below[word]
    return command, above


@pytest.mark.parametrize(("where", "line"), sorted(set(command_lines())))
def test_a_command_line_names_commands_and_flags_that_are_there(where: str, line: str) -> None:
    command, above = command_of(line)
    known = {
        flag for each in (command, *above) for option in each.params for flag in (*option.opts, *option.secondary_opts)
    }
    flags = set(FLAG.findall(line)) - {"--help", "-h"}
    assert flags <= known, f"{where}: {flags - known}"
