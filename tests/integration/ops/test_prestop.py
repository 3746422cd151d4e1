"""`clusterd prestop` beside a real daemon: drains, waits, leaves its marker, and says how it went."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from clusterd.testing import AgentProcess, eventually

PRESTOP = (sys.executable, "-m", "clusterd", "prestop")


async def prestop(*arguments: str) -> tuple[int, list[str]]:
    async with AgentProcess(*arguments, command=PRESTOP) as process:
        code = await process.wait(45)
    return code, process.lines


async def counted(daemon: Any, sessions: int) -> None:
    async def look() -> bool:
        return bool((await daemon.get("/v1/self"))["sessions"] == sessions)

    await eventually(look, what=f"{sessions} sessions")


async def test_it_drains_the_node_and_writes_the_marker_after_that(yard: Any, tmp_path: Path) -> None:
    gateway, marker = await yard.gateway(20), tmp_path / "drained"
    marker.write_text("from an earlier life")
    daemon = await yard.hooked(gateway, "--marker", str(marker))
    assert not marker.exists(), "an earlier container's marker would end this one's drain before it began"
    await counted(daemon, 20)
    code, lines = await prestop("--control", daemon.control, "--marker", str(marker), "--timeout", "20")
    assert code == 0, lines
    assert marker.read_text() == "drained\n"
    assert gateway.sessions == 0
    assert lines[-1] == "clusterd: drained, 20 sessions moved"
    assert (await daemon.get("/v1/self"))["node"]["state"] == "drained"
    assert [entry.name for entry in os.scandir(tmp_path)] == [marker.name]
    assert await daemon.process.terminate(10) == 0


async def test_a_gateway_that_keeps_its_sessions_costs_the_timeout_and_no_more(yard: Any, tmp_path: Path) -> None:
    gateway, marker = await yard.gateway(2), tmp_path / "drained"
    gateway.manner = "lie"
    daemon = await yard.hooked(gateway)
    await counted(daemon, 2)
    code, lines = await prestop("--control", daemon.control, "--marker", str(marker), "--timeout", "3")
    assert code == 6, lines
    assert "2 left" in lines[-1]
    assert marker.read_text().startswith("failed: not drained within 3 s")


async def test_a_daemon_that_is_gone_does_not_hold_the_pod_up(tmp_path: Path) -> None:
    marker = tmp_path / "drained"
    code, lines = await prestop("--control", f"unix:{tmp_path}/no.sock", "--marker", str(marker))
    assert code == 3, lines
    assert lines == [f"clusterd: the daemon can't be reached at unix:{tmp_path}/no.sock: no such file or directory"]
    assert marker.exists()


async def test_a_daemon_that_dies_meanwhile_does_not_either(yard: Any, tmp_path: Path) -> None:
    gateway, marker = await yard.gateway(2), tmp_path / "drained"
    gateway.manner = "lie"
    daemon = await yard.hooked(gateway)
    await counted(daemon, 2)
    arguments = ("--control", daemon.control, "--marker", str(marker), "--timeout", "60")
    async with AgentProcess(*arguments, command=PRESTOP) as process:
        await process.wait_for_line("draining", 30)
        await daemon.process.kill()
        assert await process.wait(30) == 3
    assert marker.exists()


async def test_being_terminated_it_still_writes_the_marker(yard: Any, tmp_path: Path) -> None:
    gateway, marker = await yard.gateway(2), tmp_path / "drained"
    gateway.manner = "lie"
    daemon = await yard.hooked(gateway)
    await counted(daemon, 2)
    arguments = ("--control", daemon.control, "--marker", str(marker), "--timeout", "60")
    async with AgentProcess(*arguments, command=PRESTOP) as process:
        await process.wait_for_line("draining", 30)
        assert await process.terminate(20) == 143
    assert marker.read_text() == "interrupted\n"


async def test_it_shows_the_token_that_the_listener_asks_for(yard: Any, tmp_path: Path) -> None:
    token, other = tmp_path / "token", tmp_path / "other"
    token.write_text("0123456789abcdef0123456789abcdef\n")
    other.write_text("fedcba9876543210fedcba9876543210\n")
    daemon = await yard.daemon("--control", "0.0.0.0:0", "--token-file", str(token))
    control = f"127.0.0.1:{daemon.control.rpartition(':')[2]}"
    code, lines = await prestop("--control", control, "--token-file", str(other))
    assert code == 5, lines
    assert "fedcba" not in "".join(lines)
    code, lines = await prestop("--control", control, "--token-file", str(token))
    assert code == 0, lines


async def test_the_gateway_s_own_hook_waits_for_the_marker(tmp_path: Path) -> None:
    marker = tmp_path / "drained"
    async with AgentProcess("--wait-for", str(marker), "--timeout", "60", command=PRESTOP) as waiting:
        await asyncio.sleep(0.2)
        assert waiting.running
        marker.write_text("drained")
        assert await waiting.wait(30) == 0


async def test_the_gateway_s_own_hook_does_not_wait_for_ever(tmp_path: Path) -> None:
    code, lines = await prestop("--wait-for", str(tmp_path / "never"), "--timeout", "0.3")
    assert (code, len(lines)) == (7, 1), lines


@pytest.mark.parametrize("control", ["off", "h:1/x", "http://", "u@h:1"])
async def test_an_address_that_can_not_be_one_is_refused_and_marked(control: str, tmp_path: Path) -> None:
    code, lines = await prestop("--control", control, "--marker", str(tmp_path / "m"))
    assert (code, len(lines)) == (2, 1), lines
    assert (tmp_path / "m").exists()
