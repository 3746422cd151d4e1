"""Nodes as processes of their own: killed, paused, doubled, told to stop, and started with what can't work."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clusterd.testing import AgentProcess, EtcdServer, eventually

ADDRESS = "10.0.0.1:8080"


@pytest.fixture
def node(etcd: EtcdServer) -> Callable[..., AgentProcess]:
    """Make a node's process."""

    def make(node_id: str, *more: str, ttl: int = 2) -> AgentProcess:
        flags = ("--node", node_id, "--address", ADDRESS, "--etcd", etcd.endpoint, "--ttl", str(ttl))
        return AgentProcess(*flags, *more)

    return make


async def test_a_killed_node_is_gone_after_its_ttl_and_a_stopped_one_at_once(fleet: Any, node: Any) -> None:
    watcher = await fleet.agent("watcher")
    async with node("killed", ttl=3) as killed, node("stopped", ttl=30) as stopped:
        await eventually(lambda: watcher.topology.nodes.keys() == {"watcher", "killed", "stopped"})
        await killed.kill()
        assert await stopped.terminate() == 0
        await eventually(lambda: "stopped" not in watcher.topology, timeout=2)
        assert "killed" in watcher.topology
        await eventually(lambda: "killed" not in watcher.topology, timeout=8)


async def test_a_node_paused_past_its_ttl_is_counted_out_and_returns_when_it_goes_on(fleet: Any, node: Any) -> None:
    watcher = await fleet.agent("watcher")
    witness = await fleet.witness(watcher)
    async with node("sleeper") as sleeper:
        await sleeper.wait_for_line("registered at")
        await eventually(lambda: "sleeper" in watcher.topology)
        instance = watcher.topology.nodes["sleeper"].instance
        sleeper.pause()
        await eventually(lambda: "sleeper" not in watcher.topology)
        sleeper.resume()
        await sleeper.wait_for_line("session: lost")
        await eventually(lambda: "sleeper" in watcher.topology)
        assert watcher.topology.nodes["sleeper"].instance == instance
        await eventually(lambda: witness.left == ["sleeper"])


async def test_of_two_processes_with_one_id_the_second_fails_and_names_the_first(fleet: Any, node: Any) -> None:
    watcher = await fleet.agent("watcher")
    async with node("gw-1") as first, node("gw-1") as second:
        await asyncio.gather(
            first.wait_for_line("registered at|held by"), second.wait_for_line("registered at|held by")
        )
        loser = await eventually(lambda: next((p for p in (first, second) if not p.running), None))
        winner = first if loser is second else second
        assert await loser.wait() == 5
        assert loser.stderr[-1].startswith("clusterd: node id 'gw-1' is held by instance ")
        assert watcher.topology.nodes["gw-1"].instance in loser.stderr[-1]
        assert winner.running


async def test_a_node_whose_id_was_taken_over_while_it_was_paused_stops_itself(fleet: Any, node: Any) -> None:
    watcher = await fleet.agent("watcher")
    async with node("gw-1") as old:
        await old.wait_for_line("registered at")
        await eventually(lambda: "gw-1" in watcher.topology)
        old.pause()
        await eventually(lambda: "gw-1" not in watcher.topology)
        async with node("gw-1") as new:
            await new.wait_for_line("registered at")
            await eventually(lambda: "gw-1" in watcher.topology)
            instance = watcher.topology.nodes["gw-1"].instance
            old.resume()
            assert await old.wait() == 5
            assert "taken over by instance" in old.stderr[-1]
            await asyncio.sleep(0.5)
            assert watcher.topology.nodes["gw-1"].instance == instance
            assert new.running


async def test_a_second_signal_ends_a_node_that_can_not_leave(etcd: EtcdServer, node: Any) -> None:
    async with node("gw-1", ttl=30) as process:
        await process.wait_for_line("registered at")
        etcd.pause()
        os.kill(process.pid, 15)
        await process.wait_for_line("drained: ")  # and now it would wait for etcd, to leave
        os.kill(process.pid, 15)
        assert await process.wait() == -15
        etcd.resume()


async def test_a_node_that_can_not_withdraw_leaves_all_the_same(etcd: EtcdServer, node: Any) -> None:
    async with node("gw-1", ttl=30) as process:
        await process.wait_for_line("registered at")
        etcd.pause()
        assert await process.terminate(grace=5) == 0
        assert any("it lapses within 30 s" in line for line in process.stderr)
        etcd.resume()


async def test_a_node_told_to_stop_while_it_waits_for_etcd_stops() -> None:
    flags = ("--node", "gw-1", "--address", ADDRESS, "--etcd", "http://127.0.0.1:9")
    async with AgentProcess(*flags) as process:
        await process.wait_for_line("connection refused")
        assert await process.terminate(grace=3) == 0


async def test_a_log_in_json_is_one_object_a_line(node: Any) -> None:
    async with node("gw-1", "--log-format", "json") as process:
        await process.wait_for_line("registered at")
        await process.terminate()
    entries = [json.loads(line) for line in process.stderr]
    assert all(entry.keys() == {"time", "level", "logger", "message", "node"} for entry in entries)
    assert {entry["node"] for entry in entries} == {"gw-1"}


async def test_settings_come_from_flag_environment_and_file(etcd: EtcdServer, tmp_path: Path) -> None:
    file = tmp_path / "clusterd.toml"
    file.write_text(
        f'node = "from-file"\naddress = "{ADDRESS}"\nzone = "file"\nweight = 1\nlabel = {{tier = "edge"}}\n'
    )
    env = {**os.environ, "CLUSTERD_ETCD": etcd.endpoint, "CLUSTERD_ZONE": "environment", "CLUSTERD_WEIGHT": "2"}
    async with AgentProcess("--config", str(file), "--weight", "3", env=env) as process:
        await process.wait_for_line("registered at")
        record = json.loads((await etcd.admin.get("/nodes/from-file")).value)
    assert (record["zone"], record["weight"], record["labels"]) == ("environment", 3, {"tier": "edge"})


@pytest.mark.parametrize(
    ("flags", "environment", "code", "says"),
    [
        ([], {}, 2, "no node is given"),
        (["--node", "gw-1"], {}, 2, "no address is given"),
        (["--node", "a b", "--address", ADDRESS], {}, 2, "node id 'a b' is not usable"),
        (["--node", "gw-1", "--address", "10.0.0.1"], {}, 2, "has no port"),
        (["--node", "gw-1", "--address", "h:99999"], {}, 2, "from 1 to 65535"),
        (["--node", "gw-1", "--address", ADDRESS, "--ttl", "0"], {}, 2, "ttl 0 is out of range"),
        (["--node", "gw-1", "--address", ADDRESS, "--ttl", "soon"], {}, 2, "--ttl: 'soon' can't be used"),
        (["--node", "gw-1", "--address", ADDRESS], {"CLUSTERD_TTTL": "1"}, 2, "environment CLUSTERD_TTTL"),
        (["--node", "gw-1", "--address", ADDRESS], {"CLUSTERD_WEIGHT": "x"}, 2, "environment CLUSTERD_WEIGHT"),
        (["--node", "gw-1", "--address", ADDRESS, "--config", "/nowhere.toml"], {}, 2, "/nowhere.toml: no such file"),
        (["--node", "gw-1", "--address", ADDRESS, "--etcd", "host:port"], {}, 2, "etcd endpoint"),
        (["--node", "gw-1", "--address", ADDRESS, "--user", "u"], {}, 2, "has no password"),
        (
            ["--node", "gw-1", "--address", ADDRESS, "--etcd", "127.0.0.1:9", "--start-timeout", "0.5"],
            {},
            3,
            "connection refused: is etcd running there?",
        ),
    ],
)
async def test_what_can_not_work_is_one_line_and_an_exit_code(
    flags: list[str], environment: dict[str, str], code: int, says: str
) -> None:
    async with AgentProcess(*flags, env={**os.environ, **environment}) as process:
        assert await process.wait() == code
    line = process.stderr[-1]
    assert line.startswith("clusterd: ")
    assert says in line
    assert not any("Traceback" in text for text in process.lines)


async def test_a_refused_login_ends_the_start_with_its_exit_code(etcd: EtcdServer, node: Any) -> None:
    await etcd.enable_auth()
    async with node("gw-1", "--start-timeout", "60") as process:
        assert await process.wait(20) == 5
    assert "etcd asks for a login" in process.stderr[-1]
