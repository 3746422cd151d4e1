"""No password and no token shows: not in argv, logs at debug level, errors, tracebacks, whatever fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from clusterd import Agent, EtcdOptions
from clusterd.etcd.client import Client
from clusterd.etcd.process import free_ports
from clusterd.testing import AgentProcess, EtcdBinary, EtcdServer
from clusterd.testing.certs import make_certificates

SECRET = "s3cret-w0rd-nobody-sees"
WRONG = "wr0ng-w0rd-nobody-sees"


@pytest.fixture
async def guarded(etcd: EtcdServer) -> EtcdServer:
    """An etcd with auth and a user `fleet` who may do all; tokens expire after 5 s."""
    await etcd.enable_auth("fleet", SECRET, token_ttl=5)
    return etcd


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    return file


def assert_hidden(*texts: str, tokens: Sequence[str] = ()) -> None:
    for text in texts:
        for secret in (SECRET, WRONG, *tokens):
            assert secret not in text


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")


async def ways_to_fail(etcd: EtcdServer, etcd_binary: EtcdBinary, tmp_path: Path) -> list[tuple[str, list[str], str]]:
    """Where to connect, with which TLS flags, and with which password: each fails in another way."""
    ours, others = make_certificates(tmp_path / "ours"), make_certificates(tmp_path / "others")
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    return [
        (etcd.endpoint, [], WRONG),
        (f"http://{nobody}", [], SECRET),
        (etcd.endpoint.replace("http:", "https:"), [], SECRET),
        (f"https://{nobody}", ["--cacert", str(others.ca)], SECRET),
        (etcd.endpoint.replace("http:", "https:"), ["--cacert", str(ours.server_key)], SECRET),
        (f"http://fleet:{SECRET}@{nobody}", [], SECRET),
        (f"http://fleet:{SECRET}%40{nobody}", [], SECRET),
    ]


async def test_the_daemon_at_debug_level(guarded: EtcdServer, secret_file: Path) -> None:
    where = ("--etcd", guarded.endpoint, "--user", "fleet", "--log-level", "debug", "--ttl", "2")
    options = ("--node", "gw-1", "--address", "h:1", *where, "--password-file", str(secret_file))
    async with AgentProcess(*options) as agent:
        await agent.wait_for_line("registered at", timeout=30)
        assert_hidden(command_line(agent.pid))
        await guarded.restart()  # forgets all tokens: it leaves with a new one
        await agent.terminate()
    assert_hidden(*agent.lines)


async def test_the_daemon_whatever_fails(guarded: EtcdServer, etcd_binary: EtcdBinary, tmp_path: Path) -> None:
    async def run(number: int, endpoint: str, flags: list[str], password: str) -> None:
        file = tmp_path / f"password-{number}"
        file.write_text(password)
        options = ("--node", "gw-1", "--address", "h:1", "--user", "fleet", "--password-file", str(file), *flags)
        env = {"CLUSTERD_ETCD": endpoint, "CLUSTERD_LOG_LEVEL": "debug", "CLUSTERD_START_TIMEOUT": "1"}
        async with AgentProcess(*options, env=env) as agent:
            assert await agent.wait(timeout=30) in (2, 3, 5)
        assert agent.stderr
        assert_hidden(*agent.lines)

    ways = await ways_to_fail(guarded, etcd_binary, tmp_path)
    await asyncio.gather(*(run(number, *way) for number, way in enumerate(ways)))


async def test_the_commands_whatever_fails(
    guarded: EtcdServer, etcd_binary: EtcdBinary, tmp_path: Path, clusterctl: Any
) -> None:
    async def run(endpoint: str, flags: list[str], password: str) -> None:
        env = {"CLUSTERCTL_ENDPOINTS": endpoint, "CLUSTERCTL_USER": "fleet", "CLUSTERCTL_PASSWORD": password}
        result = await clusterctl("nodes", "--debug", "--timeout", "1s", *flags, env=env)
        assert result.code in (2, 3, 5)
        assert_hidden(result.out, result.err)

    for way in await ways_to_fail(guarded, etcd_binary, tmp_path):
        await run(*way)


async def test_the_commands_that_set_passwords(guarded: EtcdServer, tmp_path: Path, started: Any) -> None:
    (tmp_path / "ann").write_text(SECRET)
    env = {"CLUSTERCTL_ENDPOINTS": guarded.endpoint, "CLUSTERCTL_USER": "fleet", "CLUSTERCTL_PASSWORD": SECRET}
    for more in ([], ["--rotate"]):
        arguments = ("auth", "apply", "--debug", "--grant", "ann=reader", "--passwords", str(tmp_path), "-y", *more)
        async with started(*arguments, env=env) as child:
            assert_hidden(command_line(child.pid))
            out, err = await asyncio.gather(child.stdout.read(), child.stderr.read())
            assert await child.wait() == 0
        assert_hidden(out.decode(), err.decode())


async def test_an_agent_s_log_and_the_repr_of_all_its_parts(
    guarded: EtcdServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    options = EtcdOptions((guarded.endpoint,), user="fleet", password=SECRET)
    tokens: list[str] = []
    async with Agent("gw-1", "h:1", etcd=options, ttl=2) as agent, Client(options) as client:
        for _ in range(2):
            await client.range(b"/")
            tokens.append(client.failover.tokens.token or "")
            await guarded.restart()
        await asyncio.wait_for(agent.update(weight=5), 20)
        parts = [repr(each) for each in (agent, client, client.options, client.failover, client.failover.tokens)]
    assert all(tokens)
    assert_hidden(caplog.text, *parts, *map(repr, caplog.records), tokens=tokens)
