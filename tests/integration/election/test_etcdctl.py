"""etcd's own tools take part: `etcdctl elect` and `etcdctl lock` hold, wait for and observe the same offices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from clusterd import Agent
from clusterd.testing import EtcdServer, never


@pytest.fixture
async def agent(etcd: EtcdServer) -> AsyncIterator[Agent]:
    async with Agent("gw-1", "10.0.0.1:8080", etcd=etcd.endpoints, ttl=2) as agent:
        yield agent


async def test_etcdctl_waits_for_our_leader_and_we_for_etcdctls(stage: Any, etcdctl: Any) -> None:
    leader = await stage.leader(value="ours")
    other = await etcdctl("elect", "/elections/job", "theirs")
    await never(lambda: other.lines, 0.5)
    await leader.leave()
    await other.wait_for_line("theirs")

    ours = await stage.waiting(value="ours again")
    assert (await ours.election.leader()).id == "theirs"
    await never(lambda: ours.leads, 0.5)
    await other.terminate()
    await ours.elected()
    assert (await ours.election.leader()).id == "ours again"


async def test_etcdctl_observes_our_leaders_and_proclamations(stage: Any, etcdctl: Any) -> None:
    leader = await stage.leader(value="first")
    observer = await etcdctl("elect", "-l", "/elections/job")
    await observer.wait_for_line("first")
    await leader.term.proclaim("first, at work")
    await observer.wait_for_line("first, at work")
    follower = await stage.waiting(value="second")
    await leader.leave()
    await follower.elected()
    await observer.wait_for_line("second")


async def test_we_observe_etcdctls_leader(stage: Any, etcdctl: Any) -> None:
    await etcdctl("elect", "/elections/job", "theirs")
    async for leader in (await stage.election()).observe():
        if leader is not None:
            assert leader.id == "theirs"
            break


async def test_etcdctl_lock_waits_for_ours_and_we_for_etcdctls(agent: Agent, etcdctl: Any) -> None:
    async with agent.lock("billing") as term:
        other = await etcdctl("lock", "/locks/billing")
        await never(lambda: other.lines, 0.5)
        first = term.fence
    await other.wait_for_line(r"/locks/billing/[0-9a-f]+")

    ours = asyncio.create_task(fence_of_lock(agent, "billing"))
    try:
        await never(ours.done, 0.5)
        await other.terminate()
        assert await ours > first
    finally:
        ours.cancel()


async def fence_of_lock(agent: Agent, name: str) -> int:
    async with agent.lock(name) as term:
        return term.fence
