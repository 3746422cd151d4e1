"""Observers see each leader and each proclamation, once, whatever happens to etcd meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from clusterd.testing import EtcdServer, TcpProxy, eventually


class Observer:
    """Collects what one observer of an election sees."""

    def __init__(self, leaders: AsyncIterator[Any]) -> None:
        self.seen: list[str | None] = []
        self._leaders = leaders
        self._task = asyncio.create_task(self._read(), name="observer")

    async def sees(self, *ids: str | None, timeout: float = 15.0) -> None:
        await eventually(lambda: self.seen == list(ids), timeout, what=f"{ids}, having seen {self.seen}")

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _read(self) -> None:
        async for leader in self._leaders:
            self.seen.append(leader.id if leader else None)


@pytest.fixture
async def observe(stage: Any) -> AsyncIterator[Any]:
    observers: list[Observer] = []

    async def start(**options: Any) -> Observer:
        observers.append(Observer((await stage.election(**options)).observe()))
        return observers[-1]

    yield start
    for observer in observers:
        await observer.close()


async def test_vacancy_leaders_and_proclamations_show_in_order_and_once(stage: Any, observe: Any) -> None:
    observer = await observe()
    await observer.sees(None)
    first = await stage.leader(value="a")
    await observer.sees(None, "a")
    second = await stage.waiting(value="b")
    await first.term.proclaim("a, at work")
    await observer.sees(None, "a", "a, at work")
    await first.election.proclaim(b"\xff")
    await observer.sees(None, "a", "a, at work", "\\xff")
    await first.leave()
    await observer.sees(None, "a", "a, at work", "\\xff", "b")
    await second.leave()
    await observer.sees(None, "a", "a, at work", "\\xff", "b", None)


async def test_a_restart_and_a_compaction_of_etcd_lose_no_change_that_lasts(
    etcd: EtcdServer, stage: Any, observe: Any
) -> None:
    observer = await observe()
    await observer.sees(None)
    leader = await stage.leader(value="a", ttl=30)
    await observer.sees(None, "a")
    await etcd.stop()
    await etcd.start()
    await leader.leave()
    await etcd.compact()
    await stage.leader(value="b")
    await eventually(lambda: observer.seen[-1] == "b")
    assert observer.seen in ([None, "a", "b"], [None, "a", None, "b"])


async def test_a_network_that_was_away_shows_the_newest_leader_when_it_is_back(
    etcd: EtcdServer, stage: Any, observe: Any
) -> None:
    async with TcpProxy(etcd.endpoint) as proxy:
        observer = await observe(etcd=proxy.endpoint)
        await observer.sees(None)
        leader = await stage.leader(value="a")
        await observer.sees(None, "a")
        await proxy.refuse()
        proxy.reset()
        await leader.leave()
        await stage.leader(value="b")
        await proxy.heal()
        await observer.sees(None, "a", "b")
