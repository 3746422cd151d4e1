"""The pytest plugin as a user of clusterd has it: installed, unasked, and used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clusterd import Agent
from clusterd.testing import EtcdServer, Recorder, disagreements, eventually

ROOT = Path(__file__).parents[3]


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a project of its own, with the settings that ours has not inherited."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_PLUGINS": "pytest_clusterd"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", (ROOT / "docs/testing.md").read_text(), re.DOTALL))
def test_the_examples_of_the_docs_run(tmp_path: Path, block: str) -> None:
    (tmp_path / "test_example.py").write_text(block)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d+ passed", done.stdout), done.stdout


def test_who_uses_none_of_it_does_not_import_clusterd(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(
        "import sys\ndef test_other():\n    assert 'pytest_clusterd' in sys.modules and 'clusterd' not in sys.modules\n"
    )
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_fixture_says_what_it_is(tmp_path: Path) -> None:
    listing = run_pytest(tmp_path, "--fixtures").stdout
    documented = set(re.findall(r"^\| `(clusterd_\w+)`", (ROOT / "docs/testing.md").read_text(), re.MULTILINE))
    assert set(re.findall(r"^(clusterd_\w+)", listing, re.MULTILINE)) == documented
    assert "no docstring" not in re.sub(r".*?fixtures defined from pytest_clusterd", "", listing, flags=re.DOTALL)


async def test_agents_are_recorded_and_agree(
    clusterd_etcd: EtcdServer, clusterd_agent: Any, clusterd_agent_process: Any, clusterd_recorder: Recorder
) -> None:
    one: Agent = await clusterd_agent("gw-1", zone="a")
    other: Agent = await clusterd_agent("gw-2", zone="b")
    process = await clusterd_agent_process("gw-3")
    await eventually(lambda: len(one.topology) == len(other.topology) == 3)
    first, second = clusterd_recorder.topology("one", one.topology), clusterd_recorder.topology("two", other.topology)
    assert first.facts["routes"] == second.facts["routes"] != ""

    await process.kill()
    await eventually(lambda: len(one.topology) == len(other.topology) == 2)
    clusterd_recorder.topology("one", one.topology)
    clusterd_recorder.topology("two", other.topology)
    assert len(clusterd_recorder.records) == 4
    assert disagreements(clusterd_recorder.records) == []
