"""The example runs with one command."""

from __future__ import annotations

import sys
from pathlib import Path

from clusterd.testing import AgentProcess

FLEET = Path(__file__).parents[3] / "examples" / "singleton" / "fleet.py"


async def test_the_work_of_the_example_goes_on_until_the_last_gateway() -> None:
    async with AgentProcess(command=(sys.executable, str(FLEET))) as example:
        assert await example.wait(40) == 0, example.lines
    leaders = [line.split()[0] for line in example.stdout if "leads, with fence" in line]
    assert sorted(leaders) == ["gw-1", "gw-2", "gw-3"]
