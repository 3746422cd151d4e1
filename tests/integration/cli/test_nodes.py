"""`clusterctl nodes` and `clusterctl node`, in a pipe and at a terminal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import yaml

from clusterd.testing import EtcdServer


async def test_a_pipe_gets_clean_text(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    result = await clusterctl("nodes", env=here)
    assert (result.code, result.err) == (0, "")
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0] == ["NODE", "STATE", "ZONE", "ADDRESS", "WEIGHT", "SESSIONS", "AGE", "LEADS"]
    assert [line[0] for line in lines[1:]] == ["go-svc", "gw-1", "gw-2", "gw-3"]
    assert lines[1][1] == "active,foreign"
    assert lines[2][2:6] == ["a", "127.0.0.1:80", "100", "5"]
    assert lines[4][5] == "-"
    assert result.out.isascii()
    assert "\x1b" not in result.out


async def test_every_form_names_every_node(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    forms = ("json", "jsonl", "yaml", "tsv", "name", "wide")
    results = await asyncio.gather(*(clusterctl("nodes", "-o", form, env=here) for form in forms))
    for form, result in zip(forms, results, strict=True):
        assert result.code == 0
        assert ids_in(form, result.out) == ["go-svc", "gw-1", "gw-2", "gw-3"], form


def ids_in(form: str, text: str) -> list[str]:
    match form:
        case "json":
            return [node["id"] for node in json.loads(text)]
        case "jsonl":
            return [json.loads(line)["id"] for line in text.splitlines()]
        case "yaml":
            return [node["id"] for node in yaml.safe_load(text)]
        case "name":
            return text.splitlines()
        case _:
            return [line.split()[0] for line in text.splitlines()[1:]]


SELECTIONS = {
    "-l tier=edge": "gw-1",
    "-l tier!=edge --zone a": "gw-3",
    "--zone a --sort weight": "gw-1 gw-3",
    "--sort sessions": "gw-2 gw-1 go-svc gw-3",
    "gw-3 gw-1": "gw-1 gw-3",
    "--state active -l tier": "gw-1 gw-2",
}


async def test_nodes_are_selected_and_sorted(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    runs = (clusterctl("nodes", "-o", "name", *arguments.split(), env=here) for arguments in SELECTIONS)
    results = await asyncio.gather(*runs)
    found = {arguments: " ".join(result.out.split()) for arguments, result in zip(SELECTIONS, results, strict=True)}
    assert found == SELECTIONS
    assert not any(result.code for result in results)


NOTHING = {
    "nodes nope": "no node nope",
    "nodes -l tier=nope": "none of 4 nodes is selected",
    "nodes --state drained": "none of 4 nodes is selected",
    "node nope": "no node nope",
}


async def test_nothing_matched(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    results = await asyncio.gather(*(clusterctl(*arguments.split(), env=here) for arguments in NOTHING))
    for result, message in zip(results, NOTHING.values(), strict=True):
        assert (result.code, result.out, result.err) == (4, "", f"clusterctl: {message}\n")


async def test_what_is_there_is_shown_when_something_else_is_missing(
    fleet: Any, clusterctl: Any, here: dict[str, str]
) -> None:
    result = await clusterctl("nodes", "gw-1", "nope", "-o", "name", env=here)
    assert (result.code, result.out, result.err) == (4, "gw-1\n", "clusterctl: no node nope\n")


async def test_an_empty_fleet_is_no_error(etcd: EtcdServer, clusterctl: Any, here: dict[str, str]) -> None:
    table = await clusterctl("nodes", env=here)
    assert (table.code, len(table.out.splitlines())) == (0, 1)
    assert "no nodes are registered under /nodes/" in table.err
    assert json.loads((await clusterctl("nodes", "-o", "json", env=here)).out) == []
    assert (await clusterctl("nodes", "gw-1", env=here)).code == 4


async def test_everything_about_one_node(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    revision = await fleet.register("gw-1", zone="a", sessions=6)
    node = json.loads((await clusterctl("node", "gw-1", "-o", "json", env=here)).out)
    assert node["lease"] == f"{fleet.lease:x}"
    assert node["lease_granted"] == 300
    assert 0 < node["lease_remaining"] <= 300
    assert (node["mod_revision"], node["version"], node["sessions"]) == (revision, 2, 6)
    assert node["create_revision"] < revision
    assert node["raw"] is None

    table = (await clusterctl("node", "gw-1", env=here)).out
    assert f"{fleet.lease:x}, 4m" in table
    assert yaml.safe_load((await clusterctl("node", "gw-1", "-o", "yaml", env=here)).out)["id"] == "gw-1"


async def test_a_foreign_value_is_shown_escaped(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    result = await clusterctl("node", "go-svc", env=here)
    assert r"active\x1b[31m" in result.out
    assert "\x1b" not in result.out
    assert json.loads((await clusterctl("node", "go-svc", "-o", "json", env=here)).out)["raw"] == r"active\x1b[31m"


async def test_an_odd_key_is_found_by_the_id_it_is_shown_with(
    fleet: Any, clusterctl: Any, here: dict[str, str]
) -> None:
    await fleet.etcd.admin.put(b"/nodes/odd\xff\x1b[2J", "active")
    (shown,) = (line for line in (await clusterctl("nodes", "-o", "name", env=here)).out.split() if "odd" in line)
    assert shown.isprintable()
    for command in ("node", "nodes"):
        result = await clusterctl(command, shown, env=here)
        assert (result.code, result.err) == (0, "")
        assert shown in result.out


async def test_a_registration_that_never_lapses_is_told(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    await fleet.etcd.admin.put("/nodes/for-ever", "active")
    assert "never lapses" in (await clusterctl("node", "for-ever", env=here)).out


Terminal = Callable[..., AbstractAsyncContextManager[Any]]


async def test_a_terminal_gets_colours_unless_told_not_to(fleet: Any, terminal: Terminal, here: dict[str, str]) -> None:
    async with terminal("nodes", env=here) as screen:
        assert await screen.ends() == 0
    assert "\x1b[32mactive" in screen.shown
    assert "─" in screen.shown
    for arguments, env in ((["--no-color"], {}), ([], {"CLUSTERCTL_NO_COLOR": "1"}), ([], {"NO_COLOR": "1"})):
        async with terminal("nodes", *arguments, env=here | env) as screen:
            assert await screen.ends() == 0
        assert "\x1b[32m" not in screen.shown


async def test_a_live_table_follows_the_fleet_until_ctrl_c(
    fleet: Any, terminal: Terminal, here: dict[str, str]
) -> None:
    async with terminal("nodes", "-w", env=here) as screen:
        await screen.shows("4 nodes")
        await fleet.register("gw-9", zone="new-zone")
        await screen.shows("new-zone")
        await screen.shows("5 nodes")
        screen.child.send_signal(2)
        assert await screen.ends() == 130
    assert "Traceback" not in screen.shown
    assert screen.shown.rstrip().endswith("\x1b[?25h")  # the cursor is back


async def test_in_a_pipe_the_table_comes_again_after_each_change(
    fleet: Any, started: Any, here: dict[str, str]
) -> None:
    async with started("nodes", "-w", "-o", "jsonl", env=here) as child:
        assert len(json.loads(await child.stdout.readline())["nodes"]) == 4
        revision = await fleet.register("gw-9")
        after = json.loads(await child.stdout.readline())
        assert (len(after["nodes"]), after["revision"], after["stale"]) == (5, revision, False)
    async with started("nodes", "-w", "-l", "tier", env=here) as child:
        first = await child.stdout.readuntil(b"\n\n")
        assert [line.split()[0] for line in first.splitlines()[1:-1]] == [b"gw-1", b"gw-2"]
        await fleet.register("gw-9", labels={"tier": "new"})
        assert b"gw-9" in await child.stdout.readuntil(b"\n\n")


async def test_a_form_that_cannot_be_watched_is_refused(clusterctl: Any) -> None:
    result = await clusterctl("nodes", "-w", "-o", "yaml")
    assert (result.code, result.out) == (2, "")
    assert "--watch shows table, wide, jsonl" in result.err
