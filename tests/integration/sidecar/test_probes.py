"""What the kubelet sees: alive, started, ready; through an etcd that is away, a drain, and a loop that is stuck."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from clusterd.testing import AgentProcess, EtcdServer, eventually


async def probe(daemon: Any, path: str) -> tuple[int, str]:
    answer = await daemon.probes.get(path)
    return answer.status, answer.body["status"]


async def test_it_lives_before_it_has_started_and_is_ready_when_it_has(site: Any, etcd: EtcdServer) -> None:
    etcd.pause()
    daemon = await site.daemon(wait=False)
    assert await probe(daemon, "/livez") == (200, "ok")
    assert await probe(daemon, "/startupz") == (503, "unready")
    assert await probe(daemon, "/readyz") == (503, "unready")
    assert (await daemon.control.get("/v1/nodes")).status == 503
    etcd.resume()
    await daemon.registered()
    for path in ("/livez", "/startupz", "/readyz"):
        assert await probe(daemon, path) == (200, "ok")


async def test_readiness_outlives_etcd_as_degraded(site: Any, etcd: EtcdServer) -> None:
    daemon = await site.daemon()
    await etcd.stop()

    async def degraded() -> bool:
        return await probe(daemon, "/readyz") == (200, "degraded")

    await eventually(degraded)
    async with asyncio.timeout(30):
        while "lost" not in (await daemon.control.get("/v1/self")).body["session"]:
            assert await probe(daemon, "/readyz") == (200, "degraded")
    assert await probe(daemon, "/readyz") == (200, "degraded")
    assert await probe(daemon, "/livez") == (200, "ok")
    assert await probe(daemon, "/startupz") == (200, "ok")
    await etcd.start()
    await eventually(lambda: probe_is(daemon, (200, "ok")))


async def probe_is(daemon: Any, expected: tuple[int, str]) -> bool:
    return await probe(daemon, "/readyz") == expected


async def test_a_node_that_drains_lives_and_is_not_ready(site: Any) -> None:
    daemon = await site.daemon()
    await daemon.control.ask("POST", "/v1/self/drain")
    await eventually(lambda: probe_is(daemon, (503, "unready")))
    assert await probe(daemon, "/livez") == (200, "ok")
    await daemon.control.ask("DELETE", "/v1/self/drain")
    await eventually(lambda: probe_is(daemon, (200, "ok")))


async def test_a_loop_that_is_stuck_does_not_live(site: Any) -> None:
    daemon = await site.daemon()
    daemon.process.pause()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(daemon.probes.get("/livez"), 0.5)
    daemon.process.resume()
    assert await probe(daemon, "/livez") == (200, "ok")


@pytest.mark.parametrize("setting", ["control", "probes"])
async def test_two_daemons_cannot_have_one_port_and_the_second_says_what_to_do(site: Any, setting: str) -> None:
    first = await site.daemon()
    place = getattr(first, setting).url.removeprefix("http://")
    flags = ("--node", "gw-2", "--address", "h:1", "--etcd", site.etcd.endpoint, f"--{setting}", place)
    async with AgentProcess(*flags) as second:
        assert await second.wait(30) == 5
    (line,) = second.stderr
    assert line.startswith(f"clusterd: --{setting} {place} is taken by another process: choose another place")
    assert line.endswith(f"or --{setting} off")


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--control", "8470", "give HOST:PORT, unix:PATH or off"),
        ("--control", "::1:8470", "goes in brackets"),
        ("--control", "0.0.0.0:0", "give a --token-file"),
        ("--control", "unix:", "give a path"),
        ("--probes", "203.0.113.1:0", "can't listen there"),
        ("--token-file", "/nowhere", "no such file"),
        ("--control-cert", "/nowhere", "give both"),
    ],
)
async def test_a_setting_that_cannot_be_used_is_one_line(flag: str, value: str, expected: str) -> None:
    flags = ("--node", "gw-1", "--address", "h:1", "--control", "127.0.0.1:0", flag, value)
    async with AgentProcess(*flags) as process:
        assert await process.wait(30) == 2
    (line,) = process.stderr
    assert line.startswith(f"clusterd: {'token file' if 'token' in flag else flag} ")
    assert expected in line
