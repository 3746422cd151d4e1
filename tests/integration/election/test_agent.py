"""Elections and locks of agents: who may stand, what ends with the agent, and work that runs on one node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from clusterd import Agent, AgentStopped, Deposed, InvalidOfficeName, NodeState, Term, UsageError
from clusterd.testing import EtcdServer, eventually, never


@pytest.fixture
async def agents(etcd: EtcdServer) -> AsyncIterator[Any]:
    """Starts agents, and tasks that end before them."""
    async with AsyncExitStack() as stack:

        async def start(node: str) -> Agent:
            return await stack.enter_async_context(Agent(node, "10.0.0.1:8080", etcd=etcd.endpoints, ttl=2))

        yield start


@pytest.fixture
async def spawn() -> AsyncIterator[Any]:
    tasks: list[asyncio.Task[Any]] = []

    def start(coroutine: Any) -> asyncio.Task[Any]:
        tasks.append(asyncio.create_task(coroutine))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Work:
    """Work for one node at a time: keeps on which nodes it runs."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.runs: list[str] = []

    def on(self, node: str) -> Any:
        async def run(term: Term) -> None:
            assert not self.running, "it ran on two nodes"
            self.running.add(node)
            self.runs.append(node)
            try:
                await asyncio.Event().wait()
            finally:
                self.running.discard(node)

        return run


@pytest.mark.parametrize("state", [NodeState.CORDONED, NodeState.DRAINING, NodeState.DRAINED])
async def test_a_node_that_is_not_active_resigns_and_stands_back_until_it_is(
    agents: Any, spawn: Any, state: NodeState
) -> None:
    work, first, second = Work(), await agents("gw-1"), await agents("gw-2")
    spawn(first.singleton("job", work.on("gw-1")))
    await eventually(lambda: work.running == {"gw-1"})
    spawn(second.singleton("job", work.on("gw-2")))

    await first.update(state=state)
    await eventually(lambda: work.running == {"gw-2"}, 2)
    await second.update(state=state)
    await eventually(lambda: not work.running, 2)
    await never(lambda: work.running, 0.5)
    await first.update(state=NodeState.ACTIVE)
    await eventually(lambda: work.running == {"gw-1"}, 5)
    assert work.runs == ["gw-1", "gw-2", "gw-1"]


async def test_work_of_a_node_that_leaves_runs_on_another_one(agents: Any, spawn: Any, etcd: EtcdServer) -> None:
    work, staying = Work(), await agents("gw-2")
    async with Agent("gw-1", "10.0.0.1:8080", etcd=etcd.endpoints, ttl=30) as leaving:
        first = spawn(leaving.singleton("job", work.on("gw-1")))
        await eventually(lambda: work.running)
        spawn(staying.singleton("job", work.on("gw-2")))
    assert work.running <= {"gw-2"}
    await eventually(lambda: work.running == {"gw-2"}, 3)
    with pytest.raises(AgentStopped):
        await first


async def test_work_that_ends_gives_its_result_and_the_office_passes_on(agents: Any) -> None:
    first, second = await agents("gw-1"), await agents("gw-2")

    async def answer(term: Term) -> int:
        return term.fence

    async def fail(_: Term) -> None:
        raise ValueError("it can't be done")

    before = await first.singleton("job", answer)
    with pytest.raises(ValueError, match="it can't be done"):
        await second.singleton("job", fail)
    assert await second.singleton("job", answer) > before


async def test_work_that_was_deposed_runs_again(agents: Any, spawn: Any, etcd: EtcdServer) -> None:
    work, agent = Work(), await agents("gw-1")
    spawn(agent.singleton("job", work.on("gw-1")))
    await eventually(lambda: work.running)
    await etcd.admin.delete("/elections/job/", prefix=True)
    await eventually(lambda: len(work.runs) == 2)


async def test_waiting_ends_with_the_agent(etcd: EtcdServer, agents: Any, spawn: Any) -> None:
    leader = await agents("gw-1")
    async with leader.election("job").lead():
        async with Agent("gw-2", "10.0.0.1:8080", etcd=etcd.endpoints, ttl=2) as waiting:
            task = spawn(waiting.singleton("job", Work().on("gw-2")))
            await asyncio.sleep(0.5)
        with pytest.raises(AgentStopped):
            await task
        assert len(await etcd.admin.range("/elections/job/")) == 1


async def test_a_lock_is_held_by_one_at_a_time_with_rising_fences(agents: Any) -> None:
    nodes, inside, fences = [await agents(f"gw-{n}") for n in range(3)], 0, []

    async def enter(agent: Agent) -> None:
        nonlocal inside
        for _ in range(3):
            async with agent.lock("billing") as term:
                assert inside == 0
                inside += 1
                fences.append(term.fence)
                await term.put("/billing/last", agent.node.id.encode())
                await asyncio.sleep(0.01)
                inside -= 1

    await asyncio.gather(*map(enter, nodes))
    assert len(fences) == 9
    assert fences == sorted(fences)


async def test_a_lock_is_for_nodes_in_any_state_and_lost_like_an_office(agents: Any, etcd: EtcdServer) -> None:
    agent = await agents("gw-1")
    await agent.update(state=NodeState.DRAINING)
    with pytest.raises(Deposed, match="lock 'billing' is not held any more"):
        async with agent.lock("billing") as term:
            assert (await etcd.admin.get(term.key)).value == b"gw-1"
            await etcd.admin.delete(term.key)
            await asyncio.sleep(5)


async def test_names_and_settings_that_cant_be_used_are_refused_at_once(agents: Any) -> None:
    agent = await agents("gw-1")
    for use in (agent.election, agent.lock):
        with pytest.raises(InvalidOfficeName):
            use("a/b")
        with pytest.raises(UsageError):
            use("a", ttl=0)
        with pytest.raises(UsageError):
            use("a", settle=-1)


async def test_an_agent_that_does_not_run_has_no_elections() -> None:
    with pytest.raises(AgentStopped):
        Agent("gw-1", "10.0.0.1:8080").election("job")
