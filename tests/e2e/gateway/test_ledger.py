"""Nothing is lost, nothing comes twice: everybody's sends and receives compared, while the fleet has a bad day."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from clusterd.testing import EtcdServer, eventually
from tests.e2e.gateway.conftest import TTL, Town, Traffic

NODES = ("gw-1", "gw-2", "gw-3")
PEOPLE = ("ann", "bob", "cid", "dot", "eve", "fay")


async def populate(town: Town) -> None:
    if not town.nodes:
        await town.start(*NODES)
    for number, name in enumerate(PEOPLE):
        person = await town.person(name, "square", at=NODES[number % len(NODES)])
        person.client.may_go_to(town.urls)


@pytest.fixture(params=["town", "redis_town"])
def any_town(request: pytest.FixtureRequest) -> Any:
    """Gateways with logs of their own, and gateways that share one."""
    return request.getfixturevalue(request.param)


async def test_people_talk_across_nodes(town: Town) -> None:
    await populate(town)
    async with Traffic(town):
        pass
    assert town.ledger.stored > 100


async def test_a_drained_node_loses_nothing(town: Town) -> None:
    await populate(town)
    async with Traffic(town):
        assert await town.nodes["gw-2"].terminate(30) == 0
    assert {person.client.node for person in town.people.values()} == {"gw-1", "gw-3"}
    assert any("everything is handed over" in line for line in town.nodes["gw-2"].lines)


async def test_a_killed_owner_loses_nothing_that_the_shared_log_has(redis_town: Town) -> None:
    await populate(redis_town)
    async with Traffic(redis_town):
        await redis_town.nodes["gw-2"].kill()


async def test_a_killed_owner_with_a_log_of_its_own_delivers_when_it_is_back(town: Town) -> None:
    await populate(town)
    async with Traffic(town) as ledger:
        await town.nodes["gw-2"].kill()
        stored = ledger.stored
        await eventually(lambda: ledger.stored > stored + 50, what="messages stored without it")
        await town.nodes["gw-2"].start()


async def test_an_outage_of_etcd_stops_nothing(any_town: Town, etcd: EtcdServer) -> None:
    town = any_town
    await populate(town)
    async with Traffic(town) as ledger:
        await etcd.kill()
        stored = ledger.stored
        await asyncio.sleep(TTL + 1)  # longer than the leases would have lived
        await eventually(lambda: ledger.stored > stored + 50, what="messages stored without etcd")
        await etcd.start()


async def test_a_paused_owner_loses_nothing(any_town: Town) -> None:
    town = any_town
    await populate(town)
    async with Traffic(town) as ledger:
        town.nodes["gw-3"].pause()
        stored = ledger.stored
        await eventually(lambda: ledger.stored > stored + 50, what="messages stored without it")
        town.nodes["gw-3"].resume()


async def test_a_rolling_restart_under_traffic_loses_nothing(any_town: Town) -> None:
    town = any_town
    await populate(town)
    async with Traffic(town) as ledger:
        for node in NODES:
            assert await town.nodes[node].terminate(30) == 0
            await town.nodes[node].start()
            await town.linked()
            stored = ledger.stored
            await eventually(lambda stored=stored: ledger.stored > stored + 20, what=f"traffic after {node}")


async def test_a_cut_between_nodes_delays_and_loses_nothing(any_town: Town) -> None:
    town = any_town
    proxies = [await town.start_behind_proxy(node) for node in ("gw-1", "gw-2")]
    await town.start("gw-3")
    await populate(town)
    async with Traffic(town):
        for proxy in proxies:
            proxy.drop()
        await eventually(lambda: linked(town, "gw-1", "gw-2", there=False), what="that the cut is noticed")
        for proxy in proxies:
            await proxy.heal()
        await eventually(lambda: linked(town, "gw-1", "gw-2", there=True), what="that the links are back")


async def linked(town: Town, one: str, other: str, *, there: bool) -> bool:
    """Whether two nodes have, or both lack, their links to each other."""
    links = (await town.stats(one))["links"], (await town.stats(other))["links"]
    return ((other in links[0]) is there) and ((one in links[1]) is there)
