"""Elections for gateways in any language: a candidacy lasts as long as its connection."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from clusterd.testing import eventually


@pytest.fixture
async def daemons(site: Any) -> Any:
    return await site.daemon("gw-1"), await site.daemon("gw-2")


async def test_one_leads_and_the_other_knows_who(daemons: Any) -> None:
    first, second = daemons
    vacant = await first.control.get("/v1/leader/job")
    assert (vacant.status, vacant.body["holder"], vacant.body["trouble"]) == (503, None, "")
    async with first.control.events("/v1/leader/job", "POST") as events:
        standing = await events.next()
        assert (standing.name, standing.data["fence"]) == ("standing", None)
        elected = await events.next()
        assert elected.name == "elected"
        assert elected.data["candidacy"] == standing.data["candidacy"]
        assert 0 < elected.data["valid_seconds"] <= 2
        assert abs(elected.data["valid_until"] - time.monotonic()) < 3  # the same clock, on one host
        here = await first.control.get("/v1/leader/job")
        assert (here.status, here.body["holder"]) == (200, {"id": "gw-1", "fence": elected.data["fence"]})
        assert (await first.control.get("/v1/self")).body["leads"] == ["job"]
        await eventually(lambda: led_by(second, "gw-1"))
        again = await events.next("term")
        assert again.data["fence"] == elected.data["fence"]
        assert again.data["valid_until"] > elected.data["valid_until"] - 2


async def led_by(daemon: Any, node: str) -> bool:
    answer = await daemon.control.get("/v1/leader/job")
    assert answer.status == 503
    return bool(answer.body["holder"] and answer.body["holder"]["id"] == node)


async def test_when_the_gateway_goes_the_office_passes_on(daemons: Any) -> None:
    first, second = daemons
    async with first.control.events("/v1/leader/job", "POST") as events:
        fence = (await events.next("elected")).data["fence"]
        waiting = asyncio.create_task(elected_on(second), name="second")
        await eventually(lambda: stands(second))
    assert await waiting > fence


async def elected_on(daemon: Any) -> int:
    async with daemon.control.events("/v1/leader/job", "POST") as events:
        return int((await events.next("elected", timeout=20)).data["fence"])


async def stands(daemon: Any) -> bool:
    keys = await daemon.site.etcd.admin.range("/elections/job/")
    return len(keys) == 2


async def test_two_candidates_of_one_daemon_take_turns(daemons: Any) -> None:
    daemon, _ = daemons
    async with daemon.control.events("/v1/leader/job", "POST") as second:
        fence = (await second.next("elected")).data["fence"]
        waiting = asyncio.create_task(elected_on(daemon), name="another worker of the gateway")
        await eventually(lambda: stands(daemon))
    assert await waiting > fence


async def test_who_resigns_is_told_and_passes_it_on(daemons: Any) -> None:
    first, _ = daemons
    async with first.control.events("/v1/leader/job", "POST") as events:
        await events.next("elected")
        answer = await first.control.ask("DELETE", "/v1/leader/job")
        assert (answer.status, answer.body["fence"]) == (200, None)
        assert "resigned" in (await events.next("lost")).data["reason"]
        assert await events.ended() == []
    again = await first.control.ask("DELETE", "/v1/leader/job")
    assert (again.status, again.body["error"]) == (409, "conflict")


async def test_a_gateway_that_hangs_loses_what_it_promised_to_keep_alive(daemons: Any) -> None:
    first, _ = daemons
    async with first.control.events("/v1/leader/job", "POST", json={"alive": 1.0}) as events:
        candidacy = (await events.next("elected")).data["candidacy"]
        for _ in range(5):
            await asyncio.sleep(0.3)
            answer = await first.control.ask("PUT", "/v1/leader/job", json={"candidacy": candidacy})
            assert answer.status == 200
        assert "that it lives" in (await events.next("lost")).data["reason"]
    assert (await first.control.ask("PUT", "/v1/leader/job", json={"candidacy": candidacy})).status == 404


async def test_what_others_see_of_the_leader_can_be_chosen_and_changed(daemons: Any) -> None:
    first, second = daemons
    async with first.control.events("/v1/leader/job", "POST", json={"value": "10.0.0.1:99", "ttl": 5}) as events:
        candidacy = (await events.next("elected")).data["candidacy"]
        await eventually(lambda: led_by(second, "10.0.0.1:99"))
        change = {"candidacy": candidacy, "value": "10.0.0.1:100"}
        assert (await first.control.ask("PUT", "/v1/leader/job", json=change)).status == 200
        await eventually(lambda: led_by(second, "10.0.0.1:100"))


async def test_without_etcd_a_term_ends_by_the_clock_and_nobody_is_told_of_a_leader(site: Any, daemons: Any) -> None:
    first, second = daemons
    async with first.control.events("/v1/leader/job", "POST") as events:
        elected = await events.next("elected")
        await site.etcd.stop()
        lost = await events.next("lost")
        assert "renewed" in lost.data["reason"]
        assert time.monotonic() < elected.data["valid_until"] + 10
    answer = await second.control.get("/v1/leader/job")
    assert (answer.status, answer.body["holder"]) == (503, None)
    assert answer.body["trouble"]
    await site.etcd.start()


async def test_a_node_that_drains_leads_nothing(daemons: Any) -> None:
    first, _ = daemons
    async with first.control.events("/v1/leader/job", "POST") as events:
        await events.next("elected")
        await first.control.ask("POST", "/v1/self/drain")
        assert "gw-1 is cordoned" in (await events.next("lost")).data["reason"]
