"""`clusterctl cordon`, `uncordon`, `undrain` and `history`: what an operator asks for is in etcd, or nothing is."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from clusterd.drain import make_drain
from clusterd.drain.operator import list_intents, place_intents
from clusterd.etcd.client import Client
from clusterd.etcd.options import EtcdOptions
from clusterd.keys import Keyspace

KEYS = Keyspace()


class Operator:
    """Looks at the intents, and has some of its own."""

    def __init__(self, endpoint: str) -> None:
        self._options = EtcdOptions.of(endpoint)

    async def intents(self) -> dict[str, str]:
        async with Client(self._options) as client:
            views = await list_intents(client, KEYS)
        return {view.node: view.intent.kind.value if view.intent else "?" for view in views}

    async def drain(self, *nodes: str) -> None:
        async with Client(self._options) as client:
            intents = {node: make_drain(by="bob@ops", reason="kernel", now=datetime.now(UTC)) for node in nodes}
            await place_intents(client, KEYS, intents)


@pytest.fixture
def bob(fleet: Any) -> Operator:
    """Another operator, of a fleet of three nodes."""
    return Operator(fleet.etcd.endpoint)


async def test_nodes_are_cordoned_and_come_back(bob: Operator, clusterctl: Any, here: dict[str, str]) -> None:
    result = await clusterctl("cordon", "gw-1", "gw-2", "gw-1", "-m", "hot", env=here)
    assert (result.code, result.out, result.err) == (0, "gw-1 cordoned\ngw-2 cordoned\n", "")
    assert await bob.intents() == {"gw-1": "cordon", "gw-2": "cordon"}

    again = await clusterctl("cordon", "gw-1", env=here)
    assert (again.code, again.out) == (0, "")
    assert "gw-1 is cordoned already, by " in again.err
    assert "(hot)" in again.err

    result = await clusterctl("uncordon", "gw-1", "gw-3", env=here)
    assert (result.code, result.out) == (0, "gw-1 uncordoned\n")
    assert result.err == "clusterctl: gw-3 is not cordoned\n"
    assert await bob.intents() == {"gw-2": "cordon"}


REFUSED = {
    "cordon gw-1 nope": (4, "no node nope; nothing was changed"),
    "cordon gw-1 gw-2": (5, "node gw-2 is being drained by bob@ops"),
    "uncordon nope": (4, "no node nope"),
    "uncordon gw-2": (5, "node gw-2 is being drained: take that back with undrain"),
    "undrain gw-2 nope": (4, "no node nope"),
    "undrain gw-2 gw-3": (5, "node gw-3 is cordoned, not drained: uncordon is for that"),
    "history nope": (4, "nothing of that is in the history"),
    "history --by eve": (4, "nothing of that is in the history"),
}


async def test_what_is_refused_changes_nothing(bob: Operator, clusterctl: Any, here: dict[str, str]) -> None:
    await bob.drain("gw-2")
    assert (await clusterctl("cordon", "gw-3", env=here)).code == 0
    before = await bob.intents()
    for arguments, (code, message) in REFUSED.items():
        result = await clusterctl(*arguments.split(), env=here)
        assert (result.code, result.out) == (code, ""), arguments
        assert message in result.err
        assert await bob.intents() == before


async def test_a_foreign_node_has_no_agent_to_follow_an_intent(
    bob: Operator, clusterctl: Any, here: dict[str, str]
) -> None:
    result = await clusterctl("cordon", "go-svc", "gw-1", env=here)
    assert result.code == 5
    assert "node go-svc is foreign" in result.err
    assert await bob.intents() == {}


async def test_drains_are_taken_back(bob: Operator, clusterctl: Any, here: dict[str, str]) -> None:
    await bob.drain("gw-1", "gw-2", "gone")
    result = await clusterctl("undrain", "gw-1", "--keep-cordoned", env=here)
    assert (result.code, result.out) == (0, "gw-1 undrained, stays cordoned\n")
    assert await bob.intents() == {"gone": "drain", "gw-1": "cordon", "gw-2": "drain"}
    result = await clusterctl("undrain", "--all", env=here)
    assert (result.code, result.out) == (0, "gone undrained\ngw-2 undrained\n")
    assert await bob.intents() == {"gw-1": "cordon"}
    result = await clusterctl("undrain", "--all", env=here)
    assert (result.code, result.out, result.err) == (0, "", "clusterctl: no node is being drained\n")


async def test_what_cannot_be_read_is_dropped(fleet: Any, bob: Operator, clusterctl: Any, here: dict[str, str]) -> None:
    await fleet.etcd.admin.put("/intents/gw-1", b"scribble")
    assert (await clusterctl("cordon", "gw-1", env=here)).code == 5
    assert (await clusterctl("undrain", "gw-1", env=here)).code == 0
    assert await bob.intents() == {}


async def test_the_history_tells_who_did_what(bob: Operator, clusterctl: Any, here: dict[str, str]) -> None:
    empty = await clusterctl("history", env=here)
    assert (empty.code, empty.err) == (0, "clusterctl: the history is empty\n")
    await clusterctl("cordon", "gw-1", "-m", "evil\x1b[31m", env=here)
    await clusterctl("uncordon", "gw-1", env=here)
    await clusterctl("cordon", "gw-2", env=here)

    forms = ("table", "json", "jsonl", "yaml", "tsv")
    found = dict(
        zip(forms, await asyncio.gather(*(clusterctl("history", "-o", f, env=here) for f in forms)), strict=True)
    )
    entries = json.loads(found["json"].out)
    assert [(e["node"], e["what"]) for e in entries] == [("gw-1", "cordon"), ("gw-1", "uncordon"), ("gw-2", "cordon")]
    assert entries == yaml.safe_load(found["yaml"].out) == [json.loads(e) for e in found["jsonl"].out.splitlines()]
    assert len(found["table"].out.splitlines()) == len(found["tsv"].out.splitlines()) == 4
    assert "\x1b" not in "".join(result.out for result in found.values())

    one = await clusterctl("history", "gw-1", "--what", "cordon", "--since", "1h", "-o", "jsonl", env=here)
    assert json.loads(one.out)["reason"] == "evil\x1b[31m"
    newest = await clusterctl("history", "-n", "1", "-o", "jsonl", env=here)
    assert json.loads(newest.out)["node"] == "gw-2"
    by = await clusterctl("history", "--by", entries[0]["by"].partition("@")[0], "-o", "jsonl", env=here)
    assert len(by.out.splitlines()) == 3


async def test_what_is_asked_of_nodes_that_are_gone_is_dropped(
    fleet: Any, bob: Operator, clusterctl: Any, here: dict[str, str]
) -> None:
    await bob.drain("gw-1", "gone-1")
    assert (await clusterctl("cordon", "gone-2", "--offline", env=here)).code == 0
    young = await clusterctl("undrain", "--gone", "-y", env=here)
    assert (young.code, young.out) == (0, "")
    assert "nothing is asked, for that long, of a node that is gone" in young.err
    refused = await clusterctl("undrain", "--gone", "--older-than", "0", env=here)
    assert (refused.code, "what is asked of 2 nodes would be dropped" in refused.err) == (5, True)
    assert sorted(await bob.intents()) == ["gone-1", "gone-2", "gw-1"]
    dropped = await clusterctl("undrain", "--gone", "--older-than", "0", "-y", env=here)
    assert (dropped.code, dropped.out.splitlines()[-2:]) == (0, ["gone-1 pruned", "gone-2 pruned"])
    assert await bob.intents() == {"gw-1": "drain"}
    history = (await clusterctl("history", "--what", "prune", "-o", "jsonl", env=here)).out
    assert [json.loads(line)["node"] for line in history.splitlines()] == ["gone-1", "gone-2"]


async def test_a_node_that_comes_back_meanwhile_is_not_undrained(
    fleet: Any, bob: Operator, terminal: Any, here: dict[str, str]
) -> None:
    await bob.drain("gone-1", "gone-2")
    async with terminal("undrain", "--gone", "--older-than", "0", env=here) as screen:
        await screen.shows("Drop it for gone-1, gone-2? [y/N]")
        await fleet.register("gone-1")
        screen.type("y\n")
        assert await screen.ends() == 5
    assert "node gone-1 is back: its intent stays" in screen.shown
    assert await bob.intents() == {"gone-1": "drain"}
