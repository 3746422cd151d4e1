"""`make audit`: never clean where nothing was looked up."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "audit.py"
KNOWN: dict[str, Any] = {"name": "click", "version": "8.5.1", "vulns": []}
SKIPPED: dict[str, Any] = {"name": "rich", "skip_reason": "Dependency not found on PyPI"}
HOLED: dict[str, Any] = {**KNOWN, "vulns": [{"id": "PYSEC-1", "fix_versions": ["9.0"]}]}
NOTHING: tuple[list[dict[str, Any]], str] = ([], "ConnectionError: no route")


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("pypi", "osv", "code", "says"),
    [
        (([KNOWN], ""), NOTHING, 0, "1 packages looked up at pypi"),
        (([KNOWN, SKIPPED], ""), ([KNOWN], ""), 0, "looked up at osv"),
        (([KNOWN, SKIPPED], ""), NOTHING, 3, "pypi: 1 of 2 packages are not known there"),
        (([SKIPPED], ""), ([SKIPPED], ""), 3, "NOT CHECKED"),
        (NOTHING, NOTHING, 3, "no route"),
        (([HOLED, SKIPPED], ""), NOTHING, 1, "click 8.5.1: PYSEC-1, fixed in 9.0"),
    ],
)
def test_the_exit_code_says_whether_it_was_checked(
    audit: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pypi: Any,
    osv: Any,
    code: int,
    says: str,
) -> None:
    monkeypatch.setattr(audit, "ask", {"pypi": pypi, "osv": osv}.__getitem__)
    assert audit.main() == code
    captured = capsys.readouterr()
    assert says in captured.out + captured.err
