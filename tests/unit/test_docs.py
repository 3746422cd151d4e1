"""What docs/reliability.md promises to be tested is: each test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/reliability.md"
NAMED = sorted(set(re.findall(r"`([a-z][A-Za-z0-9_/.]*[a-z0-9]…?)`", DOCUMENT.read_text())))


def names_of_tests() -> set[str]:
    """Return the names of all tests, without `test_`, and of their classes."""
    files = (ROOT / "tests").rglob("test_*.py")
    return {name for path in files for name in re.findall(r"(?:def test_|class )(\w+)", path.read_text())}


def is_there(name: str) -> bool:
    if name.endswith("…"):
        return any(test.startswith(name[:-1]) for test in names_of_tests())
    if "/" in name:
        return (ROOT / name).exists() or (ROOT / f"{name}.py").exists()
    if name.startswith("test_"):
        return any((ROOT / "tests").rglob(f"{name}.py"))
    return name in names_of_tests()


@pytest.mark.parametrize("name", [name for name in NAMED if "_" in name or "…" in name or "/" in name])
def test_what_it_names_is_there(name: str) -> None:
    words = {"min_active", "max_unavailable"}  # terms of a drain
    assert name in words or is_there(name)


def test_every_fact_has_a_row() -> None:
    rows = re.findall(r"^\| (\d+) \|.*\| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 26))
    assert all("`" in test or "no test:" in test for _, test in rows)
