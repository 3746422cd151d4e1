"""The gateway in Node.js joins, routes, counts, is drained and leads by the sidecar alone, at one command."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from clusterd.testing import AgentProcess
from tests.conftest import missing

FLEET = Path(__file__).parents[3] / "examples" / "sidecar-node" / "fleet.py"


@pytest.fixture(scope="session")
def node_js() -> None:
    """Skip where there is no Node.js (in CI: fail)."""
    if shutil.which("node") is None:
        missing("there is no node on PATH")


@pytest.mark.usefixtures("node_js")
async def test_the_node_js_gateways_lose_nobody_and_pass_their_work_on() -> None:
    async with AgentProcess(command=(sys.executable, str(FLEET))) as example:
        assert await example.wait(80) == 0, example.lines
    assert example.stdout[-1] == "all held"
    assert sum(line.startswith("clients: ") for line in example.stdout) == 3
    drained = next(line for line in example.stdout if "drained (" in line)
    assert not drained.endswith("(0 sessions moved)")
