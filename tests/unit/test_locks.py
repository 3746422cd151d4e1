"""The locks satisfy pyproject.toml, and what doesn't is told in a line."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / ".ci" / "locks.py"
PROJECT: dict[str, Any] = {
    "build-system": {"requires": ["builder>=1"]},
    "project": {
        "name": "ours",
        "dependencies": ["needed>=1.2"],
        "optional-dependencies": {"more": ["ours[other]", "extra[thing]; python_version < '3.13'"], "other": []},
    },
}
HASH = " \\\n    --hash=sha256:00\n"
GOOD = {
    "requirements.lock": f"needed==1.3{HASH}    # via ours\n",
    "requirements-build.lock": f"builder==2{HASH}",
    "requirements-dev.lock": f"# a comment\nneeded==1.3{HASH}builder==2{HASH}extra==1 ; python_version < '3.13'{HASH}",
}


@pytest.fixture(scope="module")
def locks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("locks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["locks"] = module
    spec.loader.exec_module(module)
    return module


def test_the_locks_of_this_project_satisfy_it() -> None:
    result = subprocess.run([sys.executable, SCRIPT, "check"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("name", sorted(GOOD))
def test_no_lock_names_where_its_packages_come_from(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_locks_that_satisfy_have_no_fault(locks: ModuleType) -> None:
    assert list(locks.faults(GOOD, PROJECT)) == []


@pytest.mark.parametrize(
    ("lock", "before", "after", "fault"),
    [
        ("requirements.lock", "needed==1.3", "other==1.3", "requirements.lock has no needed>=1.2 for Python 3.11"),
        ("requirements.lock", "needed==1.3", "needed==1.1", "requirements.lock has no needed>=1.2 for"),
        ("requirements.lock", HASH, "\n", "requirements.lock has no hash for needed==1.3"),
        ("requirements.lock", "needed==1.3", "needed==1.4", "requirements.lock pins needed==1.4, which"),
        (
            "requirements.lock",
            "needed==1.3",
            "needed==1.3 ; python_version < '3.14'",
            "requirements.lock has no needed>=1.2 for Python 3.14",
        ),
        ("requirements-build.lock", "builder==2", "builder==0.9", "requirements-build.lock has no builder>=1 for"),
        ("requirements-dev.lock", "extra==1", "extras==1", "requirements-dev.lock has no extra[thing]; python_version"),
    ],
)
def test_a_lock_that_does_not_satisfy_is_told_of(
    locks: ModuleType, lock: str, before: str, after: str, fault: str
) -> None:
    found = list(locks.faults(GOOD | {lock: GOOD[lock].replace(before, after, 1)}, PROJECT))
    assert [line for line in found if line.startswith(fault) and line.endswith(": run `make lock`")]


def test_what_is_not_pinned_is_no_lock(locks: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"needed>=1 .*is not pinned"):
        locks.read_lock(f"needed>=1{HASH}")
