"""Child processes end when they should, and nobody else does."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clusterd.child import Child, ChildError

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("on", flush=True)
time.sleep(60)
"""
PARENT = """
import asyncio, sys
from clusterd.child import Child
async def main():
    child = await Child.spawn(sys.argv[1:])
    await asyncio.sleep(0.3)  # until the launcher has become the command
    print(child.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def spawn_stubborn() -> Child:
    child = await Child.spawn([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert child.stdout is not None
    await child.stdout.readline()
    return child


async def test_stop_ends_it_with_sigterm() -> None:
    child = await Child.spawn(SLEEP)
    assert child.running
    assert await child.stop() == -signal.SIGTERM
    assert not child.running


async def test_stop_kills_what_ignores_sigterm() -> None:
    child = await spawn_stubborn()
    assert await child.stop(grace=0.2) == -signal.SIGKILL


async def test_stop_ends_a_paused_one() -> None:
    child = await Child.spawn(SLEEP)
    child.pause()
    assert await child.stop() == -signal.SIGTERM


async def test_stop_that_is_cancelled_leaves_nothing_running() -> None:
    child = await spawn_stubborn()
    stopping = asyncio.create_task(child.stop(grace=30))
    await asyncio.sleep(0.05)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert await child.wait() == -signal.SIGKILL


async def test_signals_to_an_ended_process_reach_nobody() -> None:
    child = await Child.spawn([sys.executable, "-c", ""])
    assert await child.wait() == 0
    with pytest.raises(ChildError, match="SIGSTOP reaches nobody"):
        child.pause()
    assert await child.stop() == 0
    assert await child.kill() == 0


async def test_ctrl_c_at_the_terminal_is_not_for_it() -> None:
    child = await Child.spawn(SLEEP)
    assert os.getsid(child.pid) != os.getsid(0)
    await child.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_it_dies_with_a_parent_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, *SLEEP], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    deadline = time.monotonic() + 5
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
