"""Nodes and routes over HTTP: what etcd has, what the library would say, and waiting for what is new."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from clusterd import Node, Topology
from clusterd.testing import eventually


@pytest.fixture
async def daemon(site: Any) -> Any:
    await site.put("gw-2", zone="az-2", labels={"tier": "gold"}, weight=50)
    await site.put("gw-3", zone="az-3", labels={"tier": "edge"})
    return await site.daemon("gw-1", "--zone", "az-1", "--label", "tier=edge")


def topology_of(body: Any) -> Topology:
    fields = ("id", "address", "weight", "zone")
    return Topology.of([Node(**{name: node[name] for name in fields}) for node in body["nodes"]])


async def test_nodes_are_those_of_etcd_with_all_that_is_known_of_them(site: Any, daemon: Any) -> None:
    answer = await daemon.control.get("/v1/nodes")
    assert {node["id"]: node["mod_revision"] for node in answer.body["nodes"]} == await site.nodes()
    assert answer.headers["ETag"] == f'"{answer.body["revision"]}"'
    own = next(node for node in answer.body["nodes"] if node["id"] == "gw-1")
    assert (own["zone"], own["labels"], own["state"]) == ("az-1", {"tier": "edge"}, "active")
    assert (await daemon.control.get("/v1/self")).body["node"] == own


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("zone=az-2", ["gw-2"]),
        ("label=tier%3Dedge", ["gw-1", "gw-3"]),
        ("label=tier&zone=az-3", ["gw-3"]),
        ("label=tier!%3Dedge", ["gw-2"]),
        ("state=active&id=gw-1&id=gw-2", ["gw-1", "gw-2"]),
        ("state=drained", []),
        ("zone=", []),
    ],
)
async def test_nodes_are_selected_as_clusterctl_selects_them(daemon: Any, query: str, ids: list[str]) -> None:
    answer = await daemon.control.get(f"/v1/nodes?{query}")
    assert [node["id"] for node in answer.body["nodes"]] == ids


async def test_who_has_them_already_gets_nothing_until_they_change(site: Any, daemon: Any) -> None:
    etag = (await daemon.control.get("/v1/nodes")).headers["ETag"]
    for header in (etag, f"W/{etag}", f'"x", {etag}'):
        again = await daemon.control.get("/v1/nodes", headers={"If-None-Match": header})
        assert (again.status, again.body, again.headers["ETag"]) == (304, "", etag)
    await site.put("gw-4")

    async def changed() -> bool:
        return (await daemon.control.get("/v1/nodes", headers={"If-None-Match": etag})).status == 200

    await eventually(changed)


async def test_a_long_poll_is_answered_when_something_changes(site: Any, daemon: Any) -> None:
    index = (await daemon.control.get("/v1/nodes")).body["revision"]
    async with asyncio.TaskGroup() as tasks:
        polls = [
            tasks.create_task(daemon.control.get(f"/v1/nodes?index={index}&wait=20s&zone=az-9"), name=f"poll {number}")
            for number in range(20)
        ]
        await asyncio.sleep(0.2)
        assert not any(poll.done() for poll in polls)
        revision = await site.put("gw-9", zone="az-9")
    for poll in polls:
        assert poll.result().body["revision"] == revision
        assert [node["id"] for node in poll.result().body["nodes"]] == ["gw-9"]


async def test_a_long_poll_ends_when_its_time_is_up(daemon: Any) -> None:
    index = (await daemon.control.get("/v1/nodes")).body["revision"]
    answer = await daemon.control.get(f"/v1/nodes?index={index}&wait=200ms")
    assert (answer.status, answer.body["revision"]) == (200, index)
    tagged = {"If-None-Match": f'"{index}"'}
    assert (await daemon.control.get(f"/v1/nodes?index={index}&wait=200ms", headers=tagged)).status == 304
    assert (await daemon.control.get("/v1/nodes?index=1&wait=20s")).body["revision"] == index


async def test_a_long_poll_hears_that_etcd_is_gone(site: Any, daemon: Any) -> None:
    version = (await daemon.control.get("/v1/nodes")).body["revision"]
    await site.etcd.stop()
    answer = await daemon.control.get(f"/v1/nodes?index={version}&wait=20s")
    assert (answer.body["revision"], answer.body["stale"]) == (version, True)
    assert answer.headers["ETag"] != f'"{version}"'
    version = answer.headers["ETag"].strip('"')
    await site.etcd.start()
    answer = await daemon.control.get(f"/v1/nodes?index={version}&wait=20s")
    assert answer.body["stale"] is False


async def test_keys_go_where_the_library_sends_them(daemon: Any) -> None:
    topology = topology_of((await daemon.control.get("/v1/nodes")).body)
    for key in ("user-42", "", "ключ", "a b+c&d=e", "\x00"):
        for n, zone in ((1, None), (3, None), (3, "az-3"), (100, "nowhere")):
            params = {"key": key, "n": str(n)} | ({"zone": zone} if zone else {})
            body = (await daemon.control.get("/v1/route", params=params)).body
            route = topology.route(key, n, zone)
            assert [node["id"] for node in body["nodes"]] == [node.id for node in route.nodes]
            assert (body["key"], body["slot"], body["owner"]) == (key, route.slot, body["nodes"][0])
            assert [node["here"] for node in body["nodes"]] == [node.id == "gw-1" for node in route.nodes]


async def test_many_keys_are_routed_in_one_request(daemon: Any) -> None:
    topology = topology_of((await daemon.control.get("/v1/nodes")).body)
    keys = [f"user-{number}" for number in range(1000)]
    for n in (1, 3):
        body = (await daemon.control.ask("POST", "/v1/route", json={"keys": keys, "n": n})).body
        assert body["routes"] == [[node.id for node in topology.route(key, n).nodes] for key in keys]
        assert set(body["nodes"]) == {"gw-1", "gw-2", "gw-3"}


async def test_routes_follow_the_fleet_and_go_on_without_etcd(site: Any, daemon: Any) -> None:
    async def nodes() -> set[str]:
        return {node["id"] for node in (await daemon.control.get("/v1/route?key=a&n=10")).body["nodes"]}

    await site.put("gw-4", zone="az-1")
    await eventually(lambda: nodes_are(nodes, {"gw-1", "gw-2", "gw-3", "gw-4"}))
    await site.put("gw-3", zone="az-1")
    await eventually(lambda: first_in_zone(daemon, "az-1", {"gw-1", "gw-3", "gw-4"}))
    await site.etcd.stop()
    await eventually(lambda: is_stale(daemon))
    assert await nodes() == {"gw-1", "gw-2", "gw-3", "gw-4"}


async def nodes_are(nodes: Any, expected: set[str]) -> bool:
    return await nodes() == expected


async def first_in_zone(daemon: Any, zone: str, expected: set[str]) -> bool:
    body = (await daemon.control.get(f"/v1/route?key=a&n=10&zone={zone}")).body
    return {node["id"] for node in body["nodes"] if node["zone"] == zone} == expected


async def is_stale(daemon: Any) -> bool:
    return bool((await daemon.control.get("/v1/route?key=a")).body["stale"])
