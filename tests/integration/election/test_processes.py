"""Leaders that are processes: killed, and paused past their TTL."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from clusterd.testing import EtcdServer, eventually
from tests.chaos.competitor import Competitor
from tests.chaos.elections import read_etcd
from tests.chaos.history import History

TTL = 2
FOR_EVER = "1000"


@pytest.fixture
async def competitor(etcd: EtcdServer) -> AsyncIterator[Any]:
    """Starts processes that stand for an office, and don't resign."""
    async with AsyncExitStack() as stack:

        async def start(name: str) -> Competitor:
            flags = ("--reign", FOR_EVER)
            return await stack.enter_async_context(Competitor(name, etcd.endpoints, *flags, ttl=TTL))

        yield start


def begin(competitor: Competitor) -> dict[str, Any] | None:
    return next((event for event in competitor.events if event["kind"] == "begin"), None)


async def test_the_office_of_a_killed_leader_passes_on_within_its_ttl_and_a_second(competitor: Any) -> None:
    leader = await competitor("c1")
    await eventually(lambda: begin(leader))
    follower = await competitor("c2")
    await eventually(lambda: follower.process.running)
    await eventually(lambda: len(leader.events) > 50)

    killed = time.monotonic()
    await leader.kill()
    took = (await eventually(lambda: begin(follower)))["at"] - killed
    assert TTL / 2 < took < TTL + 1


async def test_a_leader_paused_past_its_ttl_does_nothing_in_office_when_it_goes_on(
    etcd: EtcdServer, competitor: Any
) -> None:
    leader = await competitor("c1")
    await eventually(lambda: begin(leader))
    follower = await competitor("c2")
    await leader.pause(2.5 * TTL)
    await eventually(lambda: begin(follower))
    await eventually(lambda: any(event["kind"] == "end" for event in leader.events))
    await eventually(lambda: len(follower.events) > 20)

    history = History()
    for each in (leader, follower):
        await each.kill()
        each.testify(history)
    await read_etcd(etcd, history)
    assert history.problems() == []
    first, second = sorted(history.terms, key=lambda term: term.begin)[:2]
    assert first.end < second.begin
    assert {write.fence for write in history.landed} == {first.fence, second.fence}
