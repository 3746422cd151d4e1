"""Somebody dies at each step of a drain, and the drain comes to its promised end.

One drain in which somebody dies at every step is a part of each run; each step on its own, with what an operator can
ask for beside, takes minutes: `make chaos-drain`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from clusterd.testing import AgentProcess, EtcdServer
from tests.integration.drain.steps import DEATHS, EACH, IN_ONE, Scene

GATEWAY = (sys.executable, str(Path(__file__).with_name("gateway.py")))
COURSES = EACH if os.environ.get("TEST_EVERY_STEP") == "1" else IN_ONE


@pytest.fixture
def process(etcd: EtcdServer) -> Any:
    """Make a gateway's process."""

    def make(node: str, sessions: int, ttl: int = 2) -> AgentProcess:
        return AgentProcess(node, etcd.endpoint, str(sessions), str(ttl), command=GATEWAY)

    return make


@pytest.mark.parametrize("dies", DEATHS)
@pytest.mark.parametrize("course", COURSES)
async def test_somebody_dies_in_a_drain(yard: Any, process: Any, course: str, dies: str) -> None:
    steps, main = COURSES[course].steps, COURSES[course].main
    async with Scene.set(yard, process) as scene:
        scene.away = main.away
        for step in steps:
            await step.before(scene)
        await scene.ask(*main.flags)
        for step in steps:
            await step.reached(scene)
            await DEATHS[dies](scene)
            await step.after(scene)
        await scene.ended(main)
