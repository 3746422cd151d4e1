"""`clusterctl route` and `clusterctl slots` on a real etcd: outputs, exit codes, and that agents say the same."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import yaml

from clusterd import Agent, NodeState
from clusterd.testing import EtcdServer

KEYS = ("user-42", "", "ключ", "room 7")
OWNERS = ("gw-1", "gw-2", "gw-3")


async def test_it_agrees_with_an_agent(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    async with Agent(node="gw-9", address="10.0.0.9:80", etcd=fleet.etcd.endpoint, zone="b") as agent:
        result = await clusterctl("route", *KEYS, "-n", "4", "--zone", "b", "-o", "json", env=here)
        assert (result.code, result.err) == (0, "")
        for key, shown in zip(KEYS, json.loads(result.out), strict=True):
            route = agent.topology.route(key, 4, "b")
            assert [shown["owner"]["id"], *(node["id"] for node in shown["fallbacks"])] == [n.id for n in route.nodes]
            assert (shown["key"], shown["slot"]) == (key, route.slot)
            assert shown["owner"]["address"] == route.nodes[0].address
            assert shown["revision"] >= route.revision


async def test_slots_agree_with_an_agent(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    async with Agent(node="gw-9", address="10.0.0.9:80", etcd=fleet.etcd.endpoint, weight=50) as agent:
        document = json.loads((await clusterctl("slots", "-o", "json", env=here)).out)
        owned = {node["id"]: node["slots"] for node in document["nodes"] if node["ratio"] is not None}
        assert owned == {node_id: share.slots for node_id, share in agent.topology.shares().items()}


async def test_a_pipe_gets_clean_text(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    result = await clusterctl("route", "user-42", "esc\x1b[31m", env=here)
    assert (result.code, result.err) == (0, "")
    heading, first, second = result.out.splitlines()
    assert heading.split() == ["KEY", "SLOT", "OWNER", "ADDRESS", "ZONE", "FALLBACKS", "REVISION"]
    assert first.split()[2] in OWNERS
    assert second.startswith(r"esc\x1b[31m")
    assert "\x1b" not in result.out


async def test_every_form_names_the_same_owner(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    forms = ("table", "tsv", "json", "jsonl", "yaml", "name")
    results = await asyncio.gather(*(clusterctl("route", "user-42", "-o", form, env=here) for form in forms))
    owners = {owner_in(form, result.out) for form, result in zip(forms, results, strict=True)}
    assert len(owners) == 1
    assert owners <= set(OWNERS)


def owner_in(form: str, text: str) -> str:
    match form:
        case "json" | "yaml":
            return str(yaml.safe_load(text)[0]["owner"]["id"])
        case "jsonl":
            return str(json.loads(text)["owner"]["id"])
        case "name":
            return text.strip()
        case _:
            return text.splitlines()[1].split()[2]


async def test_a_zone_that_no_node_is_in_is_told(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    result = await clusterctl("route", "k", "--zone", "atlantis", "-o", "name", env=here)
    assert (result.code, result.out.strip() in OWNERS) == (0, True)
    assert result.err == "clusterctl: no node that may own keys is in zone atlantis\n"


@pytest.mark.parametrize("arguments", [["route"], ["route", "k", "-n", "0"], ["route", "k", "-n", "x"]], ids=" ".join)
async def test_a_question_that_can_not_be_asked_is_a_usage_error(clusterctl: Any, arguments: list[str]) -> None:
    result = await clusterctl(*arguments)
    assert (result.code, result.out) == (2, "")


async def test_slots_sum_themselves_up_on_stderr(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    for form in ("table", "tsv", "jsonl"):
        result = await clusterctl("slots", "-o", form, env=here)
        assert result.code == 0
        assert result.err.startswith("clusterctl: 4 nodes, 262144 slots, revision ")
        assert "go-svc" in result.out
    for form in ("json", "yaml"):
        result = await clusterctl("slots", "-o", form, env=here)
        assert result.err == ""
        assert yaml.safe_load(result.out)["imbalance"] >= 1


async def test_what_would_move_without_a_node_is_what_moves_when_it_leaves(
    fleet: Any, clusterctl: Any, here: dict[str, str]
) -> None:
    planned = json.loads((await clusterctl("slots", "--without", "gw-1", "-o", "json", env=here)).out)
    await fleet.etcd.admin.delete("/nodes/gw-1")
    seen = json.loads((await clusterctl("slots", "-o", "json", env=here)).out)
    left = [node for node in planned["nodes"] if node["id"] != "gw-1"]
    assert [(node["id"], node["slots_after"]) for node in left] == [(n["id"], n["slots"]) for n in seen["nodes"]]
    assert planned["without"]["imbalance"] == seen["imbalance"]
    assert planned["without"]["minimum"] == next(n["slots"] for n in planned["nodes"] if n["id"] == "gw-1")


async def test_an_unknown_node_can_not_leave(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    result = await clusterctl("slots", "--without", "gw-1", "--without", "nope", env=here)
    assert (result.code, result.out, result.err) == (4, "", "clusterctl: no node nope\n")


async def test_an_empty_fleet(etcd: EtcdServer, clusterctl: Any, here: dict[str, str]) -> None:
    route = await clusterctl("route", "k", "-o", "json", env=here)
    assert (route.code, route.out) == (4, "")
    assert route.err == "clusterctl: nobody owns any key: no nodes are registered\n"
    slots = await clusterctl("slots", "-o", "json", env=here)
    document = json.loads(slots.out)
    assert (slots.code, document["nodes"], document["imbalance"]) == (0, [], None)
    assert "no nodes are registered under /nodes/" in slots.err


async def test_a_fleet_in_which_no_node_may_own_anything(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    states = (NodeState.STARTING, NodeState.CORDONED, NodeState.DRAINING)
    for node_id, state in zip(OWNERS, states, strict=True):
        await fleet.register(node_id, state=state)
    await fleet.register("gw-4", state=NodeState.DRAINED)
    await fleet.register("gw-5", weight=0)
    route = await clusterctl("route", "k", env=here)
    assert (route.code, route.out) == (4, "")
    assert "none of 6 nodes is active" in route.err
    slots = await clusterctl("slots", "--without", "gw-1", env=here)
    assert slots.code == 0
    assert "nobody owns a slot" in slots.err
    assert [line.split()[1] for line in slots.out.splitlines()[1:]] == [
        "active,foreign",
        *(state.value for state in states),
        "drained",
        "active",
    ]


async def test_ids_complete_after_without(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    asked = {"_CLUSTERCTL_COMPLETE": "bash_complete", "COMP_WORDS": "clusterctl slots --without gw-1 --without gw-"}
    result = await clusterctl(env=here | asked | {"COMP_CWORD": "5"})
    assert [line.partition(",")[2] for line in result.out.split()] == ["gw-2", "gw-3"]
