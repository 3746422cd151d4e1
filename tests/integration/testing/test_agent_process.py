"""An agent's process is watched through its output; here another program stands for the agent."""

from __future__ import annotations

import signal
import sys

import pytest

from clusterd.child import ChildError
from clusterd.errors import ClusterdError, WaitTimeout
from clusterd.testing import AgentProcess, EtcdServer

TICKER = """
import itertools, sys, time
print("started with", *sys.argv[1:], flush=True)
for number in itertools.count():
    print("tick", number, file=sys.stderr, flush=True)
    time.sleep(0.02)
"""


def ticker(*arguments: str) -> AgentProcess:
    return AgentProcess(*arguments, command=(sys.executable, "-c", TICKER))


async def test_lines_are_collected_as_they_come() -> None:
    async with ticker("--node", "gw-1") as agent:
        assert (await agent.wait_for_line(r"tick (\d+)"))[1] == "0"
        await agent.wait_for_line("tick 3")
        assert agent.stdout == ["started with --node gw-1"]
        assert agent.stderr[:2] == ["tick 0", "tick 1"]
        assert set(agent.stdout + agent.stderr) == set(agent.lines)


async def test_a_paused_agent_says_nothing_until_it_is_resumed() -> None:
    async with ticker() as agent:
        await agent.wait_for_line("tick")
        agent.pause()
        with pytest.raises(WaitTimeout, match=r"(?s)'tick 1000'.*tick 0"):
            await agent.wait_for_line("tick 1000", timeout=0.1)
        said = len(agent.lines)
        with pytest.raises(WaitTimeout):
            await agent.wait_for_line("tick", timeout=0.1, after=said)
        agent.resume()
        await agent.wait_for_line("tick", after=said)


async def test_it_is_terminated_and_started_again() -> None:
    async with ticker() as agent:
        await agent.wait_for_line("tick 0")
        assert await agent.terminate() == -signal.SIGTERM
        seen = len(agent.lines)
        await agent.start()
        await agent.wait_for_line("tick 0", after=seen)
        assert await agent.kill() == -signal.SIGKILL
        with pytest.raises(ChildError):
            agent.resume()


async def test_its_own_exit_code_is_told() -> None:
    async with AgentProcess(command=(sys.executable, "-c", "print('bye'); raise SystemExit(5)")) as agent:
        with pytest.raises(ClusterdError, match=r"ended without a line that matches 'ready'.*\nbye"):
            await agent.wait_for_line("ready")
        assert await agent.wait() == 5


async def test_a_real_agent_registers(etcd: EtcdServer) -> None:
    async with AgentProcess("--node", "gw-1", "--address", "127.0.0.1:8080", "--etcd", etcd.endpoint) as agent:
        await agent.wait_for_line("gw-1")
        while await etcd.admin.get("/nodes/gw-1") is None:
            assert agent.running, agent.lines
        assert await agent.terminate() == 0
        assert await etcd.admin.get("/nodes/gw-1") is None
