"""A node is drained: in which order, how fast, until when, and taken back at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from clusterd import Drain, NodeState, Phase
from clusterd.drain import OnDeadline
from clusterd.drain.operator import change_intent, read_intent
from clusterd.history import read_history
from clusterd.keys import Keyspace
from clusterd.status import decode_status
from clusterd.testing import etcd_binaries, eventually, never

KEYS = Keyspace()
on_every_version = pytest.mark.parametrize(
    "clusterd_etcd_binary", etcd_binaries(), ids=str, indirect=True, scope="session"
)


@on_every_version
async def test_a_drain_goes_through_its_states_and_is_told_of(yard: Any, in_order: Any) -> None:
    witness = await yard.witness()
    gateway = await yard.gateway("gw-1", 40)
    (view,) = await yard.drain("gw-1", rate=100.0)
    await eventually(lambda: gateway.state == "drained")

    assert gateway.sessions == set()
    await eventually(lambda: in_order(witness, "gw-1") == ["active", "cordoned", "draining", "drained"])
    (drain,) = {id(each): each for each in gateway.drains}.values()
    assert (drain.by, drain.reason, drain.deadline) == ("ann@ops", "kernel", None)

    async def told() -> Any:
        progress = await yard.progress("gw-1")
        return progress if progress and progress.phase is Phase.DRAINED else None

    progress = await eventually(told)
    assert (progress.intent, progress.at_start, progress.left, progress.moved) == (view.intent.id, 40, 0, 40)
    assert (progress.stalled, progress.forced, progress.kept, progress.aborted) == (False,) * 4
    await eventually(lambda: yard_is_free(yard))

    async def recorded() -> bool:
        return [e.what for e in await read_history(yard.client, KEYS) if e.node == "gw-1"] == ["drained"]

    await eventually(recorded)


async def yard_is_free(yard: Any) -> bool:
    return await yard.permits() == []


async def test_a_cordoned_node_keeps_its_sessions_and_comes_back(yard: Any) -> None:
    gateway = await yard.gateway("gw-1", 5)
    assert gateway.agent.ready
    await yard.cordon("gw-1")
    await eventually(lambda: gateway.state == "cordoned")
    assert not gateway.agent.ready
    assert await gateway.agent.update(state=NodeState.ACTIVE, weight=7)
    assert (gateway.state, gateway.agent.node.weight) == ("cordoned", 7)
    await yard.withdraw("gw-1")
    await eventually(lambda: gateway.state == "active")
    assert len(gateway.sessions) == 5


PHASES: dict[str, Callable[[Any], bool]] = {
    "asked for": lambda gateway: gateway is not None,
    "settling": lambda gateway: gateway.state == "cordoned",
    "moving": lambda gateway: len(gateway.moves) > 3,
    "drained": lambda gateway: gateway.state == "drained",
}


@pytest.mark.parametrize("moment", PHASES)
async def test_a_drain_is_taken_back_at_any_moment(yard: Any, moment: str) -> None:
    gateway = await yard.gateway("gw-1", 20)
    await yard.drain("gw-1", rate=20.0, max_unavailable="1")
    await eventually(lambda: PHASES[moment](gateway))
    await yard.withdraw("gw-1")
    await eventually(lambda: gateway.state == "active")
    moved = len(gateway.moves)
    await eventually(lambda: yard_is_free(yard))
    await asyncio.sleep(0.3)
    assert len(gateway.moves) == moved
    assert gateway.cancelled == (moment == "moving")
    assert all(drain.cancelled.is_set() for drain in gateway.drains)


async def test_who_sees_the_intent_gone_sees_that_it_was_aborted(yard: Any) -> None:
    await yard.gateway("gw-1", 50)
    (view,) = await yard.drain("gw-1", rate=1.0, deadline=1.0, on_deadline=OnDeadline.ABORT)
    intent, status = view.key, b"/status/gw-1"
    start = view.revision + 1
    async with yard.client.watch(intent, None, start_revision=start) as watch:
        (event,) = await anext(watch)
    assert event.type == "DELETE"
    at = await yard.client.range(status, revision=event.kv.mod_revision)
    found = decode_status(at.kvs[0].value)
    assert found is not None
    assert found.drain is not None
    assert (found.drain.aborted, found.drain.intent) == (True, view.intent.id)


async def test_at_the_deadline_sessions_are_forced(yard: Any) -> None:
    gateway = await yard.gateway("gw-1", 50)
    began = time.monotonic()
    await yard.drain("gw-1", rate=2.0, deadline=1.5, on_deadline=OnDeadline.FORCE)
    await eventually(lambda: gateway.state == "drained")
    last, count = gateway.moves[-1]
    assert count > 40
    assert 1.4 < last - began < 2.0
    assert gateway.drains[0].forced.is_set()
    assert gateway.drains[0].progress.forced


async def test_at_the_deadline_sessions_are_kept(yard: Any) -> None:
    gateway = await yard.gateway("gw-1", 50)
    await yard.drain("gw-1", rate=10.0, deadline=1.0, on_deadline=OnDeadline.KEEP, max_unavailable="1")
    await eventually(lambda: gateway.drains and gateway.drains[0].progress.kept)
    moved = len(gateway.moves)
    await never(lambda: len(gateway.moves) > moved or gateway.state == "active", 0.7)
    await eventually(lambda: yard_is_free(yard))
    gateway.sessions.clear()
    await eventually(lambda: gateway.state == "drained")


@on_every_version
@pytest.mark.parametrize("before", ["active", "cordoned"])
async def test_at_the_deadline_a_drain_is_aborted_and_what_was_before_restored(yard: Any, before: str) -> None:
    gateway = await yard.gateway("gw-1", 50)
    await yard.drain("gw-1", rate=5.0, deadline=1.0, on_deadline=OnDeadline.ABORT, was=NodeState(before))
    await eventually(lambda: gateway.moves)
    await eventually(gateway.drains[0].cancelled.is_set)
    await eventually(lambda: gateway.state == before)
    intent = (await read_intent(yard.client, KEYS, "gw-1")).intent
    assert (intent is None) == (before == "active")
    moved = len(gateway.moves)

    async def aborted() -> bool:
        progress = await yard.progress("gw-1")
        return progress is not None and progress.aborted

    await eventually(aborted)
    assert len(gateway.moves) == moved


@on_every_version
async def test_a_running_drain_is_hurried_and_stays_the_same_one(yard: Any) -> None:
    gateway = await yard.gateway("gw-1", 500)
    (view,) = await yard.drain("gw-1", rate=1.0)
    await eventually(lambda: gateway.moves)
    await change_intent(yard.client, KEYS, view, rate=2000.0)
    await eventually(lambda: gateway.state == "drained", timeout=5)
    assert len(gateway.drains) == 1


async def test_the_leader_of_an_election_resigns_before_its_sessions_move(yard: Any) -> None:
    gateway = await yard.gateway("gw-1", 10)
    ended = asyncio.Event()

    async def lead() -> None:
        async with gateway.agent.election("job").lead(on_lost="tell") as term:
            leading.set()
            await term.lost.wait()
            await asyncio.sleep(0.8)
            assert gateway.moves == []
        ended.set()

    leading = asyncio.Event()
    task = asyncio.create_task(lead(), name="leader")
    await leading.wait()
    await yard.drain("gw-1")
    await eventually(lambda: gateway.state == "drained")
    assert ended.is_set()
    await task


async def test_a_session_that_comes_late_is_moved_too(yard: Any) -> None:
    gateway = await yard.gateway("gw-1", 3)
    await yard.drain("gw-1")
    await eventually(lambda: gateway.state == "drained")
    gateway.sessions.add(99)
    await eventually(lambda: not gateway.sessions)
    await eventually(lambda: gateway.state == "drained")


async def test_a_gateway_that_only_names_its_sessions_is_drained(yard: Any) -> None:
    agent = yard.agent("gw-1")
    sessions = set(range(30))

    @agent.on_drain
    async def evacuate(drain: Drain) -> None:
        async for batch in drain.batches(lambda: sessions):
            sessions.difference_update(batch)

    async with agent:
        await yard.drain("gw-1", over=0.5)
        await eventually(lambda: agent.node.state is NodeState.DRAINED)
    assert sessions == set()


async def test_ten_thousand_sessions_go_at_the_asked_pace(yard: Any) -> None:
    gateway = await yard.gateway("gw-1", 10_000)
    await yard.drain("gw-1", rate=2500.0)
    await eventually(lambda: gateway.state == "drained", timeout=20)
    (first, _), (last, count) = gateway.moves[0], gateway.moves[-1]
    assert (10_000 - count) / (last - first) == pytest.approx(2500, rel=0.1)
    assert max(count for _, count in gateway.moves) <= 700


async def test_sessions_are_spread_over_the_asked_time(yard: Any) -> None:
    gateway = await yard.gateway("gw-1", 300)
    await yard.drain("gw-1", over=3.0)
    await eventually(lambda: gateway.state == "drained", timeout=20)
    assert gateway.moves[-1][0] - gateway.moves[0][0] == pytest.approx(3.0, rel=0.1)


class TestStalls:
    """A drain that doesn't move says so, and what blocks it."""

    async def test_no_handler(self, yard: Any) -> None:
        agent = yard.agent("gw-1")
        agent.sessions.set(3)
        async with agent:
            await yard.drain("gw-1")
            await yard.blocked("gw-1", "no drain handler")
            await eventually(lambda: agent.node.state is NodeState.DRAINING)

    async def test_nobody_counts(self, yard: Any) -> None:
        async with yard.agent("gw-1") as agent:
            await yard.drain("gw-1")
            await yard.blocked("gw-1", "sessions are not counted")
            agent.sessions.set(0)
            await eventually(lambda: agent.node.state is NodeState.DRAINED)

    async def test_a_handler_that_fails_is_called_again(self, yard: Any) -> None:
        gateway = await yard.gateway("gw-1", 5)
        calls = []

        @gateway.agent.on_drain
        async def evacuate(drain: Drain) -> None:
            calls.append(drain)
            if len(calls) == 1:
                raise ValueError("no route")
            await asyncio.sleep(1.5)
            await gateway.evacuate(drain)

        await yard.drain("gw-1")
        await yard.blocked("gw-1", "the drain handler raised ValueError: no route")
        await eventually(lambda: gateway.state == "drained")
        assert len(calls) == 2

    async def test_a_handler_that_hangs(self, yard: Any) -> None:
        gateway = await yard.gateway("gw-1", 5)

        @gateway.agent.on_drain
        async def evacuate(drain: Drain) -> None:
            await drain.cancelled.wait()

        await yard.drain("gw-1")
        progress = await yard.blocked("gw-1", "the drain handler runs since 20")
        assert progress.stalled
        await yard.withdraw("gw-1")
        await eventually(lambda: gateway.state == "active")


class TestHandlersThatIgnoreTheirCancellation:
    """They can't be ended; nothing else hangs by them, and they are named."""

    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("clusterd.drain.evacuation._GRACE", 0.3)

    async def test_one_that_swallows_it_is_not_called_again(self, yard: Any) -> None:
        gateway = await yard.gateway("gw-1", 5)
        calls = []

        @gateway.agent.on_drain
        async def swallow(drain: Drain) -> None:
            calls.append(drain)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

        await yard.drain("gw-1")
        await eventually(lambda: calls)
        await yard.withdraw("gw-1")
        await eventually(lambda: gateway.state == "active")
        gateway.agent.on_drain(gateway.evacuate)
        await yard.drain("gw-1")
        await eventually(lambda: gateway.state == "drained")
        assert len(calls) == 1

    async def test_one_that_goes_on_is_named_and_the_next_drain_goes_its_way(
        self, yard: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        agent, stubborn = yard.agent("gw-1"), Stubborn()
        agent.sessions.set(3)
        agent.on_drain(stubborn.evacuate)
        async with agent:
            await yard.drain("gw-1")
            await eventually(lambda: stubborn.calls)
            await yard.withdraw("gw-1")
            await eventually(lambda: agent.node.state is NodeState.ACTIVE)
            await yard.drain("gw-1")
            await yard.blocked("gw-1", "Stubborn.evacuate ignores that it was cancelled")
            agent.sessions.set(0)
            await eventually(lambda: agent.node.state is NodeState.DRAINED)
        # The agent has been left, while the handler goes on.
        assert "Stubborn.evacuate was cancelled and goes on" in caplog.text
        stubborn.free.set()
        await eventually(lambda: caplog.text.count("has ended after all") == len(stubborn.calls))


class Stubborn:
    """A gateway whose handler goes on whatever happens, until it is set free."""

    def __init__(self) -> None:
        self.calls: list[Drain] = []
        self.free = asyncio.Event()

    async def evacuate(self, drain: Drain) -> None:
        self.calls.append(drain)
        while not self.free.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.free.wait()


async def test_a_process_that_ends_moves_its_sessions_first(yard: Any) -> None:
    gateway = await yard.gateway("gw-1", 30)
    progress = await gateway.agent.drain(rate=100.0, deadline=10.0)
    assert (progress.phase, progress.moved, progress.left) == (Phase.DRAINED, 30, 0)


async def test_a_process_that_ends_with_nothing_to_move_does_so_within_a_second(yard: Any) -> None:
    gateway = await yard.gateway("gw-1")
    began = time.monotonic()
    await gateway.agent.drain()
    assert time.monotonic() - began < 1


async def test_a_process_that_ends_waits_for_nobody_longer_than_its_deadline(yard: Any) -> None:
    gateway = await yard.gateway("gw-1", 5)
    gateway.agent.on_drain(lambda _: asyncio.sleep(60))
    began = time.monotonic()
    progress = await gateway.agent.drain(deadline=1.0)
    assert time.monotonic() - began < 3
    assert (progress.forced, progress.left) == (True, 5)
