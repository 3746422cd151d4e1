"""The gateway in Node.js joins, routes, counts, is drained and leads by the sidecar alone, at one command."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import aiohttp
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


@pytest.mark.usefixtures("node_js")
class TestFailures:
    """What goes wrong with the gateway in Node.js is a line, and ends nobody else's session."""

    GATEWAY = FLEET.with_name("gateway.js")

    async def test_nothing_that_says_where_the_sidecar_is(self) -> None:
        async with AgentProcess(command=("node", str(self.GATEWAY), "gw-1")) as gateway:
            assert await gateway.wait() == 2
        assert gateway.stdout == []
        (line,) = gateway.stderr
        assert line.startswith("usage: node gateway.js NODE SIDECAR_SOCKET")

    async def test_a_sidecar_that_is_not_there_is_named_once(self, tmp_path: Path) -> None:
        socket = tmp_path / "no.sock"
        async with (
            AgentProcess(command=("node", str(self.GATEWAY), "gw-1", str(socket))) as gateway,
            aiohttp.ClientSession() as http,
        ):
            address = (await gateway.wait_for_line(r"listens at (\S+)"))[1]
            await gateway.wait_for_line(f"no sidecar at {socket} .ENOENT.; trying again")
            for path, status in (("%E0%A4%A", 400), ("ann", 503)):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await http.ws_connect(f"ws://{address}/{path}")
                assert refused.value.status == status
            assert gateway.running
        assert gateway.stderr == []
        assert len(gateway.stdout) == 2

    async def test_a_machine_without_node_js(self, tmp_path: Path) -> None:
        async with AgentProcess(command=(sys.executable, str(FLEET)), env={"PATH": str(tmp_path)}) as fleet:
            assert await fleet.wait() == 1
        assert fleet.lines == ["there is no node on PATH: install Node.js 18 or newer"]
