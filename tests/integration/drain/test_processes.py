"""Nodes as processes of their own: killed at each step of a drain, started again, told to stop."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from clusterd.drain import OnDeadline
from clusterd.history import read_history
from clusterd.keys import Keyspace
from clusterd.testing import AgentProcess, EtcdServer, etcd_binaries, eventually

on_every_version = pytest.mark.parametrize(
    "clusterd_etcd_binary", etcd_binaries(), ids=str, indirect=True, scope="session"
)

GATEWAY = (sys.executable, str(Path(__file__).with_name("gateway.py")))


@pytest.fixture
def process(etcd: EtcdServer) -> Any:
    """Make a gateway's process."""
    return lambda node, sessions: AgentProcess(node, etcd.endpoint, str(sessions), command=GATEWAY)


async def test_a_node_that_is_down_is_drained_for_when_it_returns(yard: Any, process: Any) -> None:
    witness = await yard.witness()
    await yard.drain("gw-1", rate=50.0)
    async with process("gw-1", 20) as gateway:
        await gateway.wait_for_line("entered cordoned")
        await gateway.wait_for_line("moved 1 left 0")
        await eventually(lambda: witness.states("gw-1")[-1:] == ["drained"])
    assert "active" not in witness.states("gw-1")


@on_every_version
@pytest.mark.parametrize("moment", ["settling", "moving", "drained"])
async def test_a_node_killed_in_a_drain_goes_on_with_it_and_never_flashes_active(
    yard: Any, process: Any, moment: str
) -> None:
    witness = await yard.witness()
    async with process("gw-1", 30) as gateway:
        await gateway.wait_for_line("entered active")
        await yard.drain("gw-1", rate=30.0, max_unavailable="1")
        shown = {"settling": "cordoned", "moving": "draining", "drained": "drained"}[moment]
        await eventually(lambda: shown in witness.states("gw-1"))
        if moment == "moving":
            await gateway.wait_for_line("moved 1 left 2[0-9]")
        await gateway.kill()
        before = len(witness.events)
        await gateway.start()
        await gateway.wait_for_line("entered (cordoned|draining)", after=len(gateway.lines))
        await eventually(lambda: witness.states("gw-1")[-1] == "drained" and len(witness.events) > before + 1)
        await eventually(lambda: told(yard))
        await gateway.terminate(grace=8)
    assert "active" not in [state for _, state in witness.events[before:]]
    assert await told(yard) == ["drained"]


async def told(yard: Any) -> list[str]:
    """What the node said of its drain, in the history; however often it was started again, once."""
    return [entry.what for entry in await read_history(yard.client, Keyspace()) if entry.node == "gw-1"]


async def test_a_node_paused_past_its_deadline_looks_first_what_is_wanted_by_now(yard: Any, process: Any) -> None:
    witness = await yard.witness()
    async with process("gw-1", 300) as gateway:
        await gateway.wait_for_line("entered active")
        await yard.drain("gw-1", rate=10.0, deadline=4.0, on_deadline=OnDeadline.FORCE)
        await gateway.wait_for_line("moved 1 left 29[0-9]")
        gateway.pause()
        await eventually(lambda: witness.states("gw-1")[-1] == "gone")
        await yard.withdraw("gw-1")
        await asyncio.sleep(2.0)
        gateway.resume()
        await eventually(lambda: witness.states("gw-1")[-1] == "active")
        moved = [int(line.split()[1]) for line in gateway.lines if line.startswith("moved")]
    assert sum(moved) < 100


async def test_a_node_paused_past_its_ttl_in_a_drain_goes_on_with_it(yard: Any, process: Any) -> None:
    witness = await yard.witness()
    async with process("gw-1", 30) as gateway:
        await gateway.wait_for_line("entered active")
        await yard.drain("gw-1", rate=20.0, max_unavailable="1")
        await gateway.wait_for_line("moved 1 left 2[0-9]")
        before = len(witness.events)
        gateway.pause()
        await eventually(lambda: witness.states("gw-1")[-1] == "gone")
        gateway.resume()
        await eventually(lambda: witness.states("gw-1")[-1] == "drained")
    assert "active" not in [state for _, state in witness.events[before:]]


async def test_a_deadline_is_kept_over_a_restart(yard: Any, process: Any) -> None:
    began = time.monotonic()
    async with process("gw-1", 500) as gateway:
        await gateway.wait_for_line("entered active")
        await yard.drain("gw-1", rate=2.0, deadline=6.0, on_deadline=OnDeadline.FORCE)
        await gateway.wait_for_line("moved 1 ")
        await gateway.kill()
        await gateway.start()
        await gateway.wait_for_line("entered cordoned")
        entered = time.monotonic()
        await gateway.wait_for_line(r"moved (4\d\d|500) left 0")
    assert time.monotonic() - began >= 6
    assert time.monotonic() - entered < 6  # one that began anew would take longer


async def test_sigterm_moves_the_sessions_and_ends(yard: Any, process: Any) -> None:
    witness = await yard.witness()
    async with process("gw-1", 40) as gateway:
        await gateway.wait_for_line("entered active")
        assert await gateway.terminate(grace=8) == 0
        assert "ended drained moved 40 left 0" in gateway.stdout
    await eventually(lambda: witness.states("gw-1")[-1] == "gone")
    assert [state for state in witness.states("gw-1") if state != "drained"] == [
        "active",
        "cordoned",
        "draining",
        "gone",
    ]
    assert await yard.etcd.admin.range("/intents/") == []


class TestDaemon:
    """`clusterd run`, to which nothing is attached."""

    @pytest.fixture
    def daemon(self, etcd: EtcdServer) -> AgentProcess:
        return AgentProcess("--node", "gw-1", "--address", "10.0.0.1:8080", "--etcd", etcd.endpoint, "--ttl", "30")

    async def test_it_leaves_within_a_second(self, yard: Any, daemon: AgentProcess) -> None:
        async with daemon:
            await daemon.wait_for_line("registered at")
            began = time.monotonic()
            assert await daemon.terminate() == 0
            assert time.monotonic() - began < 1.3  # a second, and the interpreter's own end
        assert await yard.etcd.admin.range("/nodes/") == []

    async def test_a_second_signal_ends_it_at_once(self, etcd: EtcdServer, daemon: AgentProcess) -> None:
        async with daemon:
            await daemon.wait_for_line("registered at")
            etcd.pause()
            os.kill(daemon.pid, 15)
            await asyncio.sleep(0.2)
            os.kill(daemon.pid, 15)
            assert await daemon.wait(1) == -15
            etcd.resume()

    async def test_it_is_drained_and_undrained_by_operators(self, yard: Any, daemon: AgentProcess) -> None:
        witness = await yard.witness()
        async with daemon:
            await daemon.wait_for_line("registered at")
            await yard.drain("gw-1")
            await eventually(lambda: witness.states("gw-1")[-1] == "drained")
            await yard.withdraw("gw-1")
            await eventually(lambda: witness.states("gw-1")[-1] == "active")

    async def test_a_bound_that_is_none_is_refused(self, etcd: EtcdServer) -> None:
        flags = ("--node", "gw-1", "--address", "h:1", "--etcd", etcd.endpoint, "--drain-timeout", "0")
        async with AgentProcess(*flags) as process:
            assert await process.wait() == 2
        assert "drain_timeout 0 is out of range" in process.stderr[-1]
