"""A gateway that counts its sessions, and is told which to close."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from clusterd.aio import needing
from clusterd.drain import make_drain
from clusterd.drain.operator import place_intents, read_intent, withdraw_intent
from clusterd.etcd.client import Client as EtcdClient
from clusterd.etcd.options import EtcdOptions
from clusterd.keys import Keyspace
from clusterd.testing import eventually


class Gateway:
    """Has sessions, closes as many as it is told to, and says how many are left."""

    def __init__(self, daemon: Any, sessions: int) -> None:
        self.daemon = daemon
        self.sessions = sessions
        self.evictions: list[Any] = []
        self.overs = 0
        self.last_id = ""

    async def serve(self, *, closes: bool = True, last: str | None = None) -> None:
        """Listen until the stream ends."""
        await self.daemon.report(self.sessions)
        async with self.daemon.control.events("/v1/self/evictions", last=last) as events:
            while True:
                event = await events.next("evict", "over", "end", timeout=60)
                self.last_id = event.id or self.last_id
                if event.name == "end":
                    return
                if event.name == "over":
                    self.overs += 1
                    continue
                self.evictions.append(event.data)
                if closes:
                    self.sessions -= min(self.sessions, event.data["close"])
                    await self.daemon.report(self.sessions)


@pytest.fixture
async def daemon(site: Any) -> Any:
    return await site.daemon()


async def drain_of(daemon: Any) -> Any:
    return (await daemon.control.get("/v1/self/drain")).body["drain"]


async def phase_is(daemon: Any, phase: str) -> bool:
    return bool((drain := await drain_of(daemon)) and drain["phase"] == phase)


async def attached(daemon: Any, count: int = 1) -> None:
    async def found() -> bool:
        return bool((await daemon.control.get("/v1/self")).body["attached"] == count)

    await eventually(found)


async def test_sessions_are_none_until_something_is_attached_and_unknown_until_it_reports(daemon: Any) -> None:
    async def sessions() -> Any:
        return (await daemon.control.get("/v1/self")).body["sessions"]

    assert await sessions() == 0
    async with daemon.control.events("/v1/self/evictions"):
        await attached(daemon)
        assert await sessions() is None
        await daemon.report(12)
        assert await sessions() == 12
    await attached(daemon, 0)
    assert await sessions() == 12


async def test_a_drain_has_all_sessions_closed_at_its_pace(daemon: Any) -> None:
    gateway = Gateway(daemon, 60)
    async with needing(gateway.serve(), name="gateway"):
        await attached(daemon)
        began = time.monotonic()
        answer = await daemon.control.ask("POST", "/v1/self/drain", json={"rate": 40, "reason": "update"})
        assert (answer.status, answer.body["drain"]["phase"]) == (202, "cordoned")
        await eventually(lambda: phase_is(daemon, "drained"), 30)
        assert time.monotonic() - began > 60 / 40 * 0.8
        assert sum(eviction["close"] for eviction in gateway.evictions) == 60
        assert {(eviction["reason"], eviction["forced"]) for eviction in gateway.evictions} == {("update", False)}
        assert (await drain_of(daemon))["moved"] == 60
        assert await daemon.state() == "drained"


async def test_at_the_deadline_all_that_is_left_is_asked_for(daemon: Any) -> None:
    gateway = Gateway(daemon, 500)
    async with needing(gateway.serve(), name="gateway"):
        await attached(daemon)
        await daemon.control.ask("POST", "/v1/self/drain", json={"rate": 2, "deadline": 2})
        await eventually(lambda: phase_is(daemon, "drained"), 30)
        assert gateway.evictions[-1]["forced"]
        assert gateway.evictions[-1]["close"] > 400
        assert gateway.evictions[0]["seconds_left"] < 2


async def test_a_drain_can_be_taken_back_and_the_gateway_hears_of_it(daemon: Any) -> None:
    gateway = Gateway(daemon, 500)
    async with needing(gateway.serve(), name="gateway"):
        await attached(daemon)
        await daemon.control.ask("POST", "/v1/self/drain", json={"rate": 20})
        await eventually(lambda: len(gateway.evictions) > 3)
        answer = await daemon.control.ask("DELETE", "/v1/self/drain")
        assert (answer.status, answer.body["drain"]) == (200, None)
        await eventually(lambda: gateway.overs == 1)
        await eventually(lambda: state_is(daemon, "active"))
        assert gateway.sessions > 400
        assert (await daemon.control.ask("DELETE", "/v1/self/drain")).status == 200


async def state_is(daemon: Any, state: str) -> bool:
    return bool(await daemon.state() == state)


async def test_a_drain_waits_for_who_does_not_say_how_many_there_are(daemon: Any) -> None:
    async with daemon.control.events("/v1/self/evictions") as events:
        await attached(daemon)
        await daemon.control.ask("POST", "/v1/self/drain", json={"deadline": 2})
        await eventually(lambda: blocked_by(daemon, "sessions are not counted"))
        forced = await events.next("evict")
        assert (forced.data["close"], forced.data["left"], forced.data["forced"]) == (None, None, True)
        assert not await phase_is(daemon, "drained")
        await daemon.report(0)
        await eventually(lambda: phase_is(daemon, "drained"))


async def blocked_by(daemon: Any, says: str) -> bool:
    return bool(says in (await drain_of(daemon))["blocked_by"])


async def test_sessions_that_nobody_can_be_told_to_close_are_waited_for(daemon: Any) -> None:
    await daemon.report(3)
    await daemon.control.ask("POST", "/v1/self/drain")
    await eventually(lambda: blocked_by(daemon, "no drain handler"))
    for left in (2, 1, 0):
        await daemon.report(left)
    await eventually(lambda: phase_is(daemon, "drained"))


async def test_who_listens_again_gets_what_it_missed(daemon: Any) -> None:
    await daemon.report(1000)
    async with daemon.control.events("/v1/self/evictions") as events:
        await attached(daemon)
        await daemon.control.ask("POST", "/v1/self/drain", json={"rate": 20})
        first = await events.next("evict")
        seen = [(await events.next("evict")).id for _ in range(5)]
    await attached(daemon, 0)
    async with daemon.control.events("/v1/self/evictions", last=first.id) as events:
        assert [(await events.next("evict")).id for _ in range(5)] == seen
    await attached(daemon, 0)
    async with daemon.control.events("/v1/self/evictions", last="nonsense") as events:
        assert (await events.next("evict")).id not in seen


async def test_an_operator_s_drain_reaches_the_gateway_and_is_the_operator_s_to_take_back(
    site: Any, daemon: Any
) -> None:
    gateway, keys = Gateway(daemon, 400), Keyspace()
    intent = make_drain(by="ann@ops", reason="kernel", now=datetime.now(UTC), rate=50.0, settle=0.3)
    client = EtcdClient(EtcdOptions.of(site.etcd.endpoint))
    async with needing(gateway.serve(), name="gateway"), client as etcd:
        await attached(daemon)
        await place_intents(etcd, keys, {"gw-1": intent})
        await eventually(lambda: gateway.evictions)
        assert (gateway.evictions[0]["by"], gateway.evictions[0]["intent"]) == ("ann@ops", intent.id)
        refused = await daemon.control.ask("DELETE", "/v1/self/drain")
        assert (refused.status, refused.body["error"]) == (409, "conflict")
        await withdraw_intent(etcd, keys, await read_intent(etcd, keys, "gw-1"))
        await eventually(lambda: gateway.overs)
        await eventually(lambda: state_is(daemon, "active"))


async def test_sigterm_has_the_sessions_closed_and_then_ends(site: Any, daemon: Any) -> None:
    gateway = Gateway(daemon, 30)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(gateway.serve(), name="gateway")
        await attached(daemon)
        assert await daemon.process.terminate(grace=30) == 0
    assert gateway.sessions == 0
    assert await site.nodes() == {}


IMPATIENT = "import clusterd.sidecar.gateway as g; g.FORGET_SECONDS = 1; from clusterd.sidecar.main import main; main()"
"""The daemon, to which a second without a word is what 15 s are else."""


async def test_sigterm_does_not_wait_for_a_gateway_that_is_gone(site: Any) -> None:
    daemon = await site.daemon("gw-1", "--drain-timeout", "60", command=(sys.executable, "-c", IMPATIENT, "run"))
    await daemon.report(7)
    assert await daemon.process.terminate(grace=30) == 0
    said = "\n".join(daemon.process.stderr)
    assert "listens to nothing; the last count was 7" in said
    assert "not drained: the gateway is taken for gone" in said
    assert await site.nodes() == {}


async def test_a_gateway_that_goes_silent_in_a_drain_is_named_until_it_speaks_again(site: Any) -> None:
    daemon = await site.daemon(command=(sys.executable, "-c", IMPATIENT, "run"))
    await daemon.report(7)
    async with EtcdClient(EtcdOptions.of(site.etcd.endpoint)) as etcd:
        intent = make_drain(by="ann@ops", now=datetime.now(UTC), settle=0.0)
        await place_intents(etcd, Keyspace(), {"gw-1": intent})

        async def blocked() -> Any:
            drain = await drain_of(daemon)
            return drain if drain and "the gateway has not said for" in drain["blocked_by"] else None

        assert (await eventually(blocked))["left"] is None
        await daemon.report(7)
        await eventually(lambda: left_is(daemon, 7))
        await daemon.report(0)
        await eventually(lambda: phase_is(daemon, "drained"))


async def left_is(daemon: Any, left: int) -> bool:
    return bool((drain := await drain_of(daemon)) and drain["left"] == left)


async def test_sigterm_after_a_drain_ends_at_once_and_cannot_be_taken_back(site: Any) -> None:
    daemon = await site.daemon("gw-1", "--drain-timeout", "60")
    await daemon.report(1)
    await daemon.control.ask("POST", "/v1/self/drain", json={"deadline": 1})
    daemon.process._child.send_signal(15)

    async def refused() -> bool:
        return (await daemon.control.ask("DELETE", "/v1/self/drain")).status == 409

    await eventually(refused)
    await daemon.report(0)
    assert await daemon.process.wait(30) == 0


async def test_the_record_is_changed_by_the_gateway(site: Any, daemon: Any) -> None:
    wanted = {"weight": 7, "labels": {"v": "2"}, "endpoints": {"ws": "wss://x"}, "zone": "az-9", "state": "cordoned"}
    answer = await daemon.control.ask("PATCH", "/v1/self", json=wanted)
    assert answer.status == 200
    assert {name: answer.body["node"][name] for name in wanted} == wanted
    assert (await daemon.probes.get("/readyz")).status == 503
    await site.etcd.stop()
    answer = await daemon.control.ask("PATCH", "/v1/self", json={"weight": 8})
    assert (answer.status, answer.body["node"]["weight"]) == (202, 8)
    await site.etcd.start()
    await eventually(lambda: weight_is(daemon, 8))


async def weight_is(daemon: Any, weight: int) -> bool:
    nodes = (await daemon.control.get("/v1/nodes?id=gw-1")).body["nodes"]
    return bool(nodes and nodes[0]["weight"] == weight)
