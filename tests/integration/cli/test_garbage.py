"""Rubbish under every prefix of a fleet that runs: agents and commands live, say so, and go on once it is gone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from clusterctl import main

from clusterd.escape import is_plain
from clusterd.testing import AgentProcess, EtcdServer, eventually

HOSTILE = "x\x1b]0;own\x07\x1b[2J\u202eevil\u200b\u3164\r\n\ttail"
VALUES: tuple[bytes, ...] = (
    b"active",
    HOSTILE.encode(),
    b"\xff\xfe\x00\x9b2J",
    b'{"a":' * 5000,
    b"[" * 200_000,
    json.dumps(
        {"id": HOSTILE, "v": 1, "sessions": 10**400, "at": "0001-01-01T00:00:00+23:59", "what": HOSTILE}
    ).encode(),
    json.dumps({"at": HOSTILE, "what": HOSTILE, "node": HOSTILE, "by": HOSTILE, "reason": HOSTILE * 20}).encode(),
    json.dumps({"node": HOSTILE, "max_unavailable": "9" * 5000, "min_active": HOSTILE}).encode(),
    json.dumps({"id": "i", "kind": "drain", "deadline": "9999-12-31T23:59:59-23:59", "rate": 1e308}).encode(),
)
NAMES = (b"plain", HOSTILE.encode(), b"\xff\x9b", b"a/b/c", b"")
PREFIXES = ("nodes", "status", "intents", "history", "permits/drain", "elections", "elections/e", "locks", "locks/l")

READING = (
    *(["nodes", "-o", form] for form in ("wide", "json", "tsv")),
    ["node", "gw-1"],
    *(["drain", "status", "-o", form] for form in ("table", "yaml")),
    *(["history", "-o", form] for form in ("table", "jsonl")),
    *(["leader"], ["slots"], ["route", "user-1"]),
)


def node(etcd: EtcdServer, node_id: str) -> AgentProcess:
    where = ("--etcd", etcd.endpoint, "--ttl", "2", "--log-level", "debug")
    return AgentProcess("--node", node_id, "--address", "10.0.0.1:80", *where)


async def litter(etcd: EtcdServer) -> None:
    """Put every value somewhere under every prefix, over the nodes' own keys too."""
    for prefix in PREFIXES:
        keys = [
            f"/{prefix}/".encode() + name + (f"-{at}".encode() if name else b"") for at, name in enumerate(NAMES * 2)
        ]
        for key, value in zip(keys, VALUES, strict=False):
            await etcd.admin.put(key, value)
    for key in ("/nodes/gw-1", "/status/gw-1", "/intents/gw-1"):
        await etcd.admin.put(key, VALUES[1])


@pytest.mark.timeout(120)
async def test_agents_and_commands_live_among_rubbish(
    etcd: EtcdServer, etcdctl: Any, clusterctl: Any, here: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    async with node(etcd, "gw-1") as one, node(etcd, "gw-2") as two:
        for agent in (one, two):
            await agent.wait_for_line("registered at", timeout=30)
        await litter(etcd)
        writer = await etcdctl("put", "/intents/gw-2", "drain, please")
        assert await writer.wait() == 0
        for agent in (one, two):
            await agent.wait_for_line("intent at revision .* can't be read: it is passed over", timeout=30)

        async def ours() -> bool:
            found = await etcd.admin.get("/nodes/gw-1")
            return found is not None and b'"instance"' in found.value and found.lease > 0

        await eventually(ours, timeout=30)  # its own key is its own: it puts the record back
        for command in READING:
            code = await asyncio.to_thread(main.run, ["--endpoints", etcd.endpoint, *command])
            out, err = capsys.readouterr()
            assert code == 0, (command, err)
            assert is_plain((out + err).replace("\n", "").replace("\t", "")), command
        doctor = await clusterctl("doctor", env=here)
        assert doctor.code == 0
        assert is_plain(doctor.out.replace("\n", ""))
        listed = json.loads((await clusterctl("nodes", "-o", "json", env=here)).out)
        assert {each["id"] for each in listed if not each["foreign"]} == {"gw-1", "gw-2"}

        assert (await clusterctl("drain", "gw-1", "-y", "--settle", "200ms", env=here)).code == 5
        assert (await clusterctl("undrain", "gw-1", "gw-2", env=here)).code == 0
        drained = await clusterctl("drain", "gw-1", "-y", "--settle", "200ms", "--timeout", "20s", env=here)
        assert drained.code == 0, drained.err
        for agent in (one, two):
            assert agent.running
            assert all(is_plain(line) for line in agent.lines)
            assert not any("Traceback" in line for line in agent.lines)
        assert await asyncio.gather(one.terminate(), two.terminate()) == [0, 0]
