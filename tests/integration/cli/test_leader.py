"""`clusterctl leader`, and leadership in `nodes` and `node`: with offices held by us, by etcdctl, by anybody."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import pytest
import yaml

from clusterd import Agent
from clusterd.etcd.process import free_ports
from clusterd.testing import EtcdServer, eventually, never


class Offices:
    """Puts candidates' keys where the recipe has them, under one lease each."""

    def __init__(self, etcd: EtcdServer) -> None:
        self.admin = etcd.admin

    async def stand(self, name: str, proposal: str | bytes, *, prefix: str = "/elections/") -> int:
        """Stand for an office; return the lease."""
        lease = await self.admin.lease_grant(300)
        await self.admin.put(f"{prefix}{name}/{lease:x}", proposal, lease=lease)
        return lease


@pytest.fixture
async def offices(fleet: Any) -> Offices:
    """A fleet of three nodes in which gw-2 leads `job`, gw-1 waits, a stranger leads `odd`, and somebody has a lock."""
    offices = Offices(fleet.etcd)
    await offices.stand("job", "gw-2")
    await offices.stand("job", "gw-1")
    await offices.stand("odd", "evil\x1b[31m\n")
    await offices.stand("billing", "gw-3", prefix="/locks/")
    await offices.admin.put("/elections/job", "7", lease=await offices.admin.lease_grant(300))
    return offices


async def test_all_elections_in_every_form(offices: Offices, clusterctl: Any, here: dict[str, str]) -> None:
    forms = ("table", "json", "jsonl", "yaml", "tsv", "name")
    results = await asyncio.gather(*(clusterctl("leader", "-o", form, env=here) for form in forms))
    assert {(result.code, result.err) for result in results} == {(0, "")}
    found = {form: result.out for form, result in zip(forms, results, strict=True)}
    rows = [line.split() for line in found["table"].splitlines()]
    assert rows[0] == ["ELECTION", "LEADER", "NODE", "FENCE", "WAITING"]
    assert (rows[1][:3], rows[1][4]) == (["job", "gw-2", "gw-2"], "1")
    assert (rows[2][:3], rows[2][4]) == (["odd", r"evil\x1b[31m\n", "-"], "0")
    assert len(rows) == 3  # no lock, and not the key that a leader who resigned leaves
    assert found["table"].isascii()
    assert "\x1b" not in "".join(found.values())

    job, odd = json.loads(found["json"])
    assert (job["election"], job["leader"], job["node"], job["waiting"]) == ("job", "gw-2", "gw-2", 1)
    assert (odd["leader"], odd["node"]) == ("evil\x1b[31m\n", None)
    assert [json.loads(line) for line in found["jsonl"].splitlines()] == yaml.safe_load(found["yaml"]) == [job, odd]
    assert found["name"] == "job\nodd\n"
    assert found["tsv"].splitlines()[1].split("\t") == ["job", "gw-2", "gw-2", str(job["fence"]), "1"]


async def test_one_election_with_its_candidates_in_order(
    offices: Offices, clusterctl: Any, here: dict[str, str]
) -> None:
    keys = sorted(await offices.admin.range("/elections/job/"), key=lambda kv: kv.create_revision)
    document = json.loads((await clusterctl("leader", "job", "-o", "json", env=here)).out)
    assert [candidate["id"] for candidate in document["candidates"]] == ["gw-2", "gw-1"]
    assert [candidate["fence"] for candidate in document["candidates"]] == [kv.create_revision for kv in keys]
    assert [candidate["lease"] for candidate in document["candidates"]] == [f"{kv.lease:x}" for kv in keys]
    table = [line.split() for line in (await clusterctl("leader", "job", env=here)).out.splitlines()]
    assert table[0] == ["TURN", "CANDIDATE", "NODE", "FENCE", "LEASE"]
    assert [row[:3] for row in table[1:]] == [["1", "gw-2", "gw-2"], ["2", "gw-1", "gw-1"]]
    assert (await clusterctl("leader", "job", "-o", "name", env=here)).out == "gw-2\n"
    assert (await clusterctl("leader", "odd", "-o", "name", env=here)).out == "evil\\x1b[31m\\n\n"


async def test_a_terminal_gets_colours(offices: Offices, terminal: Any, here: dict[str, str]) -> None:
    async with terminal("leader", "job", env=here) as screen:
        assert await screen.ends() == 0
    assert "\x1b[1;32mgw-2" in screen.shown


async def test_nobody_stands_anywhere(etcd: EtcdServer, clusterctl: Any, here: dict[str, str]) -> None:
    result = await clusterctl("leader", "-o", "json", env=here)
    assert (result.code, json.loads(result.out)) == (0, [])
    assert result.err == "clusterctl: nobody stands in an election under /elections/\n"


FAILURES = {
    "leader nope": (4, "no election nope: nobody stands in it"),
    "leader billing": (4, "no election billing: nobody stands in it"),
    "leader nope --resign -y": (4, "no election nope: nobody stands in it"),
    "leader a/b": (2, "names don't nest"),
    "leader .a --resign": (2, "start with a letter or a digit"),
    "leader -w": (2, "--watch needs the NAME of an election"),
    "leader --resign": (2, "--resign needs the NAME of an election"),
    "leader job -w --resign": (2, "--watch and --resign don't go together"),
    "leader job -y": (2, "--yes goes with --resign"),
    "leader job -w -o yaml": (2, "--watch shows table, jsonl, not yaml"),
    "leader job --resign -o tsv": (2, "--resign shows table, json, jsonl, yaml, not tsv"),
    "leader job --resign": (5, "not confirmed: gw-2 leads job"),
}


async def test_what_cannot_be_done_is_said_in_a_line(offices: Offices, clusterctl: Any, here: dict[str, str]) -> None:
    for arguments, (code, message) in FAILURES.items():
        result = await clusterctl(*arguments.split(), env=here)
        assert (result.code, result.out, result.err.count("\n")) == (code, "", 1), arguments
        assert message in result.err
    assert len(await offices.admin.range("/elections/job/")) == 2


@pytest.mark.parametrize("command", [["leader"], ["leader", "job"], ["leader", "job", "-w"]], ids=" ".join)
async def test_nobody_at_the_endpoint(clusterctl: Any, command: list[str]) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    result = await clusterctl("--endpoints", endpoint, "--timeout", "500ms", *command)
    assert (result.code, result.out) == (3, "")
    assert f"{endpoint}: connection refused" in result.err


async def test_every_change_of_the_leader_is_a_line(offices: Offices, started: Any, here: dict[str, str]) -> None:
    async with (
        started("leader", "race", "-w", env=here) as lines,
        started("leader", "race", "-w", "-o", "jsonl", env=here) as objects,
    ):
        assert (await lines.stdout.readline()).split()[2:] == [b"vacant"]
        assert b"nobody stands in election race" in await lines.stderr.readline()
        assert json.loads(await objects.stdout.readline())["leader"] is None
        first = await offices.stand("race", "gw-1")
        assert (await lines.stdout.readline()).split()[2:5] == [b"leads", b"gw-1", b"fence"]
        seen = json.loads(await objects.stdout.readline())
        assert (seen["event"], seen["election"], seen["leader"]["id"]) == ("leads", "race", "gw-1")
        assert seen["leader"]["lease"] == f"{first:x}"
        await offices.stand("race", "gw-2\x1b[2J")
        await offices.admin.lease_revoke(first)
        assert (await lines.stdout.readline()).split()[2:4] == [b"leads", rb"gw-2\x1b[2J"]
        assert json.loads(await objects.stdout.readline())["leader"]["fence"] > seen["leader"]["fence"]
        for child in (lines, objects):
            child.send_signal(signal.SIGINT)
            assert await child.wait() == 130
        assert (await lines.stderr.read()).strip() == b""


async def test_following_survives_an_outage_and_says_so(
    fleet: Any, offices: Offices, started: Any, here: dict[str, str]
) -> None:
    async with started("leader", "job", "-w", "--timeout", "1s", env=here) as child:
        assert b"leads        gw-2" in await child.stdout.readline()
        await fleet.etcd.stop()
        assert b"stale        gw-2" in await child.stdout.readline()
        assert b"clusterctl: stale: " in await child.stderr.readline()
        await fleet.etcd.start()
        assert b"fresh        gw-2" in await child.stdout.readline()
        (first, _) = sorted(await offices.admin.range("/elections/job/"), key=lambda kv: kv.create_revision)
        await offices.admin.delete(first.key)
        assert b"leads        gw-1" in await child.stdout.readline()


async def test_a_leader_of_ours_gives_the_office_up(etcd: EtcdServer, clusterctl: Any, here: dict[str, str]) -> None:
    terms: list[int] = []

    async def run(term: Any) -> None:
        terms.append(term.fence)
        await asyncio.Event().wait()

    async with Agent("gw-1", "10.0.0.1:80", etcd=etcd.endpoints) as agent:
        working = asyncio.create_task(agent.singleton("job", run))
        try:
            await eventually(lambda: len(terms) == 1)
            follower = await Offices(etcd).stand("job", "gw-2")
            result = await clusterctl("leader", "job", "--resign", "-y", env=here)
            assert (result.code, result.err) == (0, "")
            assert result.out.startswith(f"gw-1 led job (fence {terms[0]}); gw-2 leads it now (fence ")
            told = json.loads((await clusterctl("history", "gw-1", "-o", "jsonl", env=here)).out)
            assert (told["what"], told["details"]) == ("depose", f"led job with fence {terms[0]}")
            await etcd.admin.lease_revoke(follower)
            await eventually(lambda: len(terms) == 2)  # it heard, stood again, and was elected again
        finally:
            working.cancel()
            await asyncio.wait([working])


async def test_a_leader_held_by_etcdctl(etcd: EtcdServer, etcdctl: Any, clusterctl: Any, here: dict[str, str]) -> None:
    holder = await etcdctl("elect", "/elections/job", "theirs")
    await holder.wait_for_line("theirs")
    shown = json.loads((await clusterctl("leader", "job", "-o", "json", env=here)).out)
    assert (shown["leader"], shown["node"], shown["waiting"]) == ("theirs", None, 0)
    observer = await etcdctl("elect", "-l", "/elections/job")
    await observer.wait_for_line("theirs")
    await Offices(etcd).stand("job", "gw-2")
    document = json.loads((await clusterctl("leader", "job", "--resign", "-y", "-o", "json", env=here)).out)
    assert document["led"] == {"id": "theirs", "fence": shown["fence"], "lease": shown["lease"]}
    assert document["leader"]["id"] == "gw-2"
    await observer.wait_for_line("gw-2")
    await never(lambda: not holder.running, 0.5)  # etcdctl doesn't look at its own key: the documentation says so


async def test_at_a_terminal_a_person_is_asked(offices: Offices, terminal: Any, here: dict[str, str]) -> None:
    async with terminal("leader", "job", "--resign", env=here) as screen:
        await screen.shows("1 waiting. Make it give the office up? [y/N]")
        screen.type("n\n")
        assert await screen.ends() == 5
    assert "not confirmed: gw-2 keeps job" in screen.shown
    async with terminal("leader", "job", "--resign", env=here) as screen:
        await screen.shows("[y/N]")
        screen.child.send_signal(signal.SIGINT)
        assert await screen.ends() == 130
    assert len(await offices.admin.range("/elections/job/")) == 2
    async with terminal("leader", "job", "--resign", env=here) as screen:
        await screen.shows("[y/N]")
        screen.type("y\n")
        assert await screen.ends() == 0
    assert "gw-2 led job" in screen.shown
    assert "gw-1 leads it now" in screen.shown
    assert len(await offices.admin.range("/elections/job/")) == 1


async def test_a_leader_that_changed_while_a_person_thought_is_left_alone(
    offices: Offices, terminal: Any, here: dict[str, str]
) -> None:
    async with terminal("leader", "job", "--resign", env=here) as screen:
        await screen.shows("gw-2 leads job")
        await screen.shows("[y/N]")
        (first, _) = sorted(await offices.admin.range("/elections/job/"), key=lambda kv: kv.create_revision)
        await offices.admin.delete(first.key)
        screen.type("y\n")
        assert await screen.ends() == 5
    assert "any more: gw-1 does" in screen.shown
    assert len(await offices.admin.range("/elections/job/")) == 1


async def test_nodes_show_what_they_lead(offices: Offices, clusterctl: Any, here: dict[str, str]) -> None:
    await offices.stand("another", "gw-2")
    forms = ("json", "table", "tsv")
    found, table, tsv = await asyncio.gather(*(clusterctl("nodes", "-o", form, env=here) for form in forms))
    leads = {node["id"]: node["leads"] for node in json.loads(found.out)}
    assert leads == {"go-svc": [], "gw-1": [], "gw-2": ["another", "job"], "gw-3": []}
    assert [line.split()[-1] for line in table.out.splitlines()] == ["LEADS", "-", "-", "another,job", "-"]
    heading, *rows = (line.split("\t") for line in tsv.out.splitlines())
    assert [row[heading.index("leads")] for row in rows] == ["", "", "another,job", ""]
    one = json.loads((await clusterctl("node", "gw-2", "-o", "json", env=here)).out)
    assert one["leads"] == ["another", "job"]
    assert "another, job" in (await clusterctl("node", "gw-2", env=here)).out


async def test_a_live_table_follows_leadership(offices: Offices, terminal: Any, here: dict[str, str]) -> None:
    async with terminal("nodes", "-w", env=here) as screen:
        await screen.shows("4 nodes")
        await offices.stand("brand-new", "gw-3")
        await screen.shows("brand-new")


async def test_who_may_not_read_elections_sees_the_nodes_without(
    fleet: Any, offices: Offices, clusterctl: Any, here: dict[str, str]
) -> None:
    admin = fleet.etcd.admin
    await fleet.etcd.enable_auth()
    for user, prefix in (("ann", "/nodes/"), ("eve", "/elections/")):
        await admin.add_role(user)
        await admin.grant(user, prefix, "READ")
        await admin.add_user(user, "pw", roles=(user,))
    nodes = await clusterctl("nodes", "-o", "json", "--user", "ann:pw", env=here)
    assert (nodes.code, {node["leads"] for node in json.loads(nodes.out)}) == (0, {None})
    assert (
        json.loads((await clusterctl("node", "gw-2", "-o", "json", "--user", "ann:pw", env=here)).out)["leads"] is None
    )
    assert (await clusterctl("leader", "--user", "ann:pw", env=here)).code == 5
    leader = json.loads((await clusterctl("leader", "job", "-o", "json", "--user", "eve:pw", env=here)).out)
    assert (leader["leader"], leader["node"]) == ("gw-2", None)
    assert (await clusterctl("leader", "job", "--resign", "-y", "--user", "eve:pw", env=here)).code == 5
