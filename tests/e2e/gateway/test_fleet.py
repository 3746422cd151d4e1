"""`make gateway`: one command starts an etcd, nodes and the router before them, and ends them all."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

from clusterd.errors import ClusterdError
from clusterd.testing import AgentProcess, eventually
from examples.gateway.client import GatewayClient
from tests.e2e.gateway.conftest import ROOT

FLEET = (sys.executable, "-m", "examples.gateway", "fleet")


async def test_the_page_and_the_clients_are_behind_the_router(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    async with AgentProcess("--nodes", "2", command=FLEET, env=environment) as fleet:
        door = (await fleet.wait_for_line(r"the page +(\S+)/$", 40))[1]
        await fleet.wait_for_line(r"Ctrl-C ends it")
        async with aiohttp.ClientSession() as http, http.get(f"{door}/?user=ann") as page:
            assert page.headers["Via"]
            assert "page.js" in await page.text()
        urls = [door.replace("http", "ws") + "/ws"]
        async with GatewayClient(urls, "ann") as ann, GatewayClient(urls, "bob") as bob:
            await bob.send("user:ann", "hello")
            assert (await anext(aiter(ann))).body == "hello"
        assert await fleet.terminate(30) == 0
    assert not any(os.scandir(tmp_path))


async def test_a_port_that_is_taken_is_said_to_be(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
        async with AgentProcess("--port", str(port), command=FLEET, env=environment) as fleet:
            with pytest.raises(ClusterdError):
                await fleet.wait_for_line("the page")
            assert fleet.stderr == [
                f"gateway: can't have port {port}: address already in use; give another one, or 0 for a free one"
            ]
            await eventually(lambda: fleet.returncode == 2)
