"""`clusterctl drain` on real nodes: processes of `clusterd run`, and gateways with sessions."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Callable
from typing import Any

from clusterd.testing import eventually
from tests.integration.cli.yard import Yard, is_state


async def test_a_process_without_sessions_is_drained_and_taken_back(
    yard: Yard, clusterctl: Any, here: dict[str, str]
) -> None:
    await yard.process("gw-1")
    await yard.process("gw-2")
    result = await clusterctl("drain", "gw-1", "--settle", "300ms", "-m", "kernel", env=here)
    assert result.code == 0, result.err
    assert result.out.splitlines()[0].split() == ["#", "NODE", "STATE", "ZONE", "SESSIONS", "LEADS"]
    assert "remaining: 1 of 2 active nodes, 50% of the capacity" in result.out
    assert result.out.endswith("gw-1 drained (0 sessions moved)\n")
    assert "clusterctl: gw-1 drained" in result.err

    shown = await clusterctl("drain", "status", "-o", "json", env=here)
    (drain,) = json.loads(shown.out)
    assert (drain["node"], drain["outcome"], drain["intent"]["reason"]) == ("gw-1", "drained", "kernel")
    assert (await clusterctl("drain", "status", "-w", env=here)).code == 0
    again = await clusterctl("drain", "gw-1", env=here)
    assert (again.code, again.out) == (5, "")
    assert "is being drained by" in again.err

    assert (await clusterctl("undrain", "gw-1", env=here)).code == 0

    async def active() -> bool:
        return json.loads((await clusterctl("node", "gw-1", "-o", "json", env=here)).out)["state"] == "active"

    await eventually(active)

    async def told() -> list[str]:
        out = (await clusterctl("history", "gw-1", "-o", "jsonl", env=here)).out
        return [json.loads(line)["what"] for line in out.splitlines()]

    async def whole() -> bool:
        return await told() == ["drain", "drained", "undrain", "undrained"]

    await eventually(whole)


async def test_events_tell_the_course_of_a_drain(yard: Yard, clusterctl: Any, here: dict[str, str]) -> None:
    await yard.gateway("gw-1", 60)
    await yard.gateway("gw-2", 0)
    command = ("drain", "gw-1", "--settle", "200ms", "--rate", "30/s", "-o", "jsonl")
    result = await clusterctl(*command, env=here)
    assert (result.code, result.err) == (0, "")
    events = [json.loads(line) for line in result.out.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[:2] == ["plan", "placed"]
    assert kinds[-1] == "drained"
    assert set(kinds[2:-1]) == {"progress"}
    assert events[0]["nodes"][0]["node"] == "gw-1"
    assert (events[-1]["moved"], events[-1]["left"]) == (60, 0)


async def test_at_the_deadline_sessions_are_forced_or_kept_or_the_drain_is_aborted(
    yard: Yard, clusterctl: Any, here: dict[str, str]
) -> None:
    for number in range(4):
        await yard.gateway(f"gw-{number}", 50)
    slow = ("--rate", "2/s", "--settle", "0", "--deadline", "2s")
    forced, kept, aborted = await asyncio.gather(
        *(
            clusterctl("drain", f"gw-{number}", "--on-deadline", what, *slow, env=here)
            for number, what in enumerate(("force", "keep", "abort"))
        )
    )
    assert (forced.code, kept.code, aborted.code) == (6, 6, 8)
    assert "its sessions were forced" in forced.out
    assert "its sessions were kept" in kept.out
    assert "aborted at the deadline" in aborted.out
    assert await yard.wanted() == ["gw-0", "gw-1"]


async def test_waiting_ends_and_the_drain_goes_on(
    yard: Yard, clusterctl: Any, started: Any, here: dict[str, str]
) -> None:
    agent = await yard.gateway("gw-1", 50)
    await yard.gateway("gw-2", 0)
    slow = ("drain", "gw-1", "--rate", "2/s", "--settle", "0")
    result = await clusterctl(*slow, "--timeout", "1s", env=here)
    assert result.code == 7
    resume = "clusterctl drain status -w gw-1"
    assert result.err.endswith(f"the drain goes on. Watch it: {resume}\n")

    async with started("drain", "status", "-w", "gw-1", env=here) as child:
        while b"left" not in await child.stderr.readline():
            pass
        child.send_signal(signal.SIGINT)
        rest = await child.stderr.read()
        assert await child.wait() == 130
    assert f"detached; the drain goes on. Watch it: {resume}" in rest.decode()
    assert "Traceback" not in rest.decode()
    assert agent.node.state == "draining"

    async with started("drain", "status", "-w", "gw-1", env=here) as child:
        while b"left" not in await child.stderr.readline():
            pass
        assert (await clusterctl("undrain", "gw-1", env=here)).code == 0
        assert await child.wait() == 8
        assert b"the drain was taken back" in await child.stdout.read()
    await eventually(is_state(agent, "active"))


async def test_a_drain_is_left_to_itself(yard: Yard, clusterctl: Any, here: dict[str, str]) -> None:
    agents = [await yard.gateway(f"gw-{number}", 3, zone="a") for number in range(3)]
    where = ("--endpoints", yard.etcd.endpoint)
    chosen = ("drain", *where, "--zone", "a", "--settle", "0", "--max-unavailable", "1", "-y", "--detach")
    result = await clusterctl(*chosen)
    assert result.code == 0, result.err
    assert (
        f"3 nodes will be drained. Watch it: clusterctl drain status {' '.join(where)} -w gw-0 gw-1 gw-2" in result.err
    )
    assert "note: no active node would remain in zone a" in result.out
    watched = await clusterctl("drain", "status", *where, "-w", "gw-0", "gw-1", "gw-2")
    assert watched.code == 0
    assert all(agent.node.state == "drained" for agent in agents)


async def test_of_two_operators_at_once_one_is_refused(yard: Yard, clusterctl: Any, here: dict[str, str]) -> None:
    await yard.gateway("gw-1", 1)
    await yard.gateway("gw-2", 0)
    command = ("drain", "gw-1", "--settle", "100ms")
    results = await asyncio.gather(*(clusterctl(*command, env=here) for _ in range(2)))
    assert sorted(result.code for result in results) == [0, 5]


async def test_a_node_that_dies_undrained(yard: Yard, clusterctl: Any, started: Any, here: dict[str, str]) -> None:
    process = await yard.process("gw-1")
    await yard.process("gw-2")
    async with started("drain", "gw-1", "--settle", "60s", env=here) as child:
        while b"cordoned" not in await child.stderr.readline():
            pass
        await process.kill()
        while b"the node is gone" not in await child.stderr.readline():
            pass
        async with asyncio.timeout(30):
            assert await child.wait() == 8


async def test_waiting_outlasts_an_outage_of_etcd(yard: Yard, started: Any, here: dict[str, str]) -> None:
    await yard.gateway("gw-1", 40)
    await yard.gateway("gw-2", 0)
    async with started("drain", "gw-1", "--rate", "8/s", "--settle", "0", env=here) as child:
        while b"left" not in await child.stderr.readline():
            pass
        yard.etcd.pause()
        while b"waiting for etcd" not in await child.stderr.readline():
            pass
        yard.etcd.resume()
        async with asyncio.timeout(30):
            assert await child.wait() == 0
        assert b"gw-1 drained" in await child.stdout.read()


REFUSED = {
    "drain gw-1 nope": (4, "no node nope; nothing was changed. One that is down can be asked too, with --offline"),
    "drain gw-1 nope --offline": (5, "not confirmed: 2 nodes"),
    "drain set gw-1 --rate 5": (4, "gw-1 is not being drained"),
    "drain set --all --rate 5": (4, "no node is being drained"),
    "drain -l tier=nope -y": (4, "none of 4 nodes is selected"),
    "drain go-svc": (5, "node go-svc is foreign"),
    "drain gw-1 --deadline 9999h": (2, "at most a year"),
    "drain gw-1 --min-active 3": (5, "2 active nodes would remain of the 3 that --min-active wants"),
    "drain gw-1 gw-2": (5, "not confirmed: 2 nodes"),
    "drain gw-2": (5, "not confirmed: no active node would remain in zone b"),
    "drain gw-1": (5, "not confirmed: gw-1 leads job"),
    "drain status nope": (4, "nothing is asked of nope"),
}


async def test_what_is_refused_changes_nothing(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    lease = await fleet.etcd.admin.lease_grant(300)
    await fleet.etcd.admin.put(f"/elections/job/{lease:x}", "gw-1", lease=lease)
    results = [await clusterctl(*arguments.split(), env=here) for arguments in REFUSED]
    for (arguments, (code, message)), result in zip(REFUSED.items(), results, strict=True):
        assert result.code == code, (arguments, result)
        assert message in result.err, arguments
    dry = await clusterctl("drain", "--all", "--dry-run", "-o", "jsonl", env=here)
    assert (dry.code, [node["node"] for node in json.loads(dry.out)["nodes"]]) == (0, ["gw-1", "gw-2", "gw-3"])
    assert await fleet.etcd.admin.range("/intents/") == []
    assert await fleet.etcd.admin.range("/history/") == []


async def test_at_a_terminal_it_asks_and_shows_bars(
    yard: Yard, terminal: Callable[..., Any], here: dict[str, str]
) -> None:
    await yard.gateway("gw-1", 30)
    await yard.gateway("gw-2", 30)
    command = ("drain", "--all", "--settle", "0", "--rate", "30/s")
    async with terminal(*command, env=here) as screen:
        await screen.shows("Drain gw-1, gw-2? [y/N]")
        screen.type("n\n")
        assert await screen.ends() == 5
    assert await yard.wanted() == []
    async with terminal(*command, env=here) as screen:
        await screen.shows("[y/N]")
        screen.type("\x03")
        assert await screen.ends() == 130
    assert await yard.wanted() == []
    async with terminal(*command, env=here) as screen:
        await screen.shows("[y/N]")
        screen.type("y\n")
        await screen.shows("━")
        assert await screen.ends() == 0
    assert "30 left" in screen.shown
    assert "gw-2 drained (30 sessions moved)" in screen.shown


async def test_ctrl_c_at_a_terminal_detaches(yard: Yard, terminal: Callable[..., Any], here: Any) -> None:
    await yard.gateway("edge-gateway-1", 50)
    await yard.gateway("edge-gateway-2", 50)
    command = (
        "drain",
        "edge-gateway-1",
        "edge-gateway-2",
        "-y",
        "--settle",
        "0",
        "--rate",
        "1/s",
        "--max-unavailable",
        "1",
    )
    async with terminal(*command, env=here | {"COLUMNS": "80"}) as screen:
        await screen.shows("50 left")
        await screen.shows("and no more")
        screen.type("\x03")
        assert await screen.ends() == 130
    bars = plain(screen.shown)
    assert "edge-gateway-1 ━" in bars
    assert "edge-gateway-2 ━" in bars
    assert max(len(line) for line in bars.splitlines() if line.startswith("edge-")) < 80  # room for the echo of Ctrl-C
    assert "clusterctl drain status -w edge-gateway-1 edge-gateway-2" in bars
    assert await yard.wanted() == ["edge-gateway-1", "edge-gateway-2"]


def plain(shown: str) -> str:
    """What was shown, without colours and movements of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r\n", "\n").replace("\r", "\n")


async def test_a_node_that_is_down_is_drained_when_it_comes_up(yard: Yard, clusterctl: Any, here: Any) -> None:
    result = await clusterctl("drain", "ghost", "--offline", "--settle", "200ms", "--detach", env=here)
    assert result.code == 0, result.err
    assert "note: ghost is not registered: it is drained when it comes up" in result.out
    assert (await clusterctl("cordon", "other", "--offline", env=here)).out == "other cordoned, for when it comes up\n"
    assert await yard.wanted() == ["ghost", "other"]
    agent = await yard.gateway("ghost", 5)
    assert agent.node.state != "active"
    assert (await clusterctl("drain", "status", "-w", "ghost", "--timeout", "20s", env=here)).code == 0
    assert is_state(agent, "drained")()


async def test_a_running_drain_is_changed(yard: Yard, clusterctl: Any, started: Any, here: dict[str, str]) -> None:
    for node in ("gw-1", "gw-2", "gw-3"):
        await yard.gateway(node, 200)
    slow = ("drain", "gw-1", "gw-2", "-y", "--settle", "0", "--rate", "1/s")
    async with started(*slow, env=here) as child:
        while b"left" not in await child.stderr.readline():
            pass
        result = await clusterctl("drain", "set", "gw-1", "--rate", "500/s", "-m", "hurry", env=here)
        assert (result.code, result.out) == (0, "gw-1 changed: rate 1 → 500, reason none → hurry\n")
        refused = await clusterctl("drain", "set", "--all", "--rate", "500/s", env=here)
        assert (refused.code, "2 drains would be changed" in refused.err) == (5, True)
        deadline = ("--deadline", "1s", "--on-deadline", "force")
        assert (await clusterctl("drain", "set", "gw-2", *deadline, env=here)).code == 0
        async with asyncio.timeout(30):
            assert await child.wait() == 6
        out = (await child.stdout.read()).decode()
    assert "gw-1 drained (200 sessions moved)" in out
    assert "gw-2 drained: at the deadline its sessions were forced" in out
    history = (await clusterctl("history", "gw-1", "--what", "change", "-o", "jsonl", env=here)).out
    assert json.loads(history)["details"] == "rate 1 → 500, reason none → hurry"


async def test_the_plan_is_the_order(yard: Yard, clusterctl: Any, here: dict[str, str]) -> None:
    for node in ("c", "a", "d", "b"):
        await yard.gateway(node, 3)
    chosen = ("drain", "d", "b", "a", "c", "-y", "--settle", "0", "--max-unavailable", "1", "-o", "jsonl")
    result = await clusterctl(*chosen, env=here)
    assert result.code == 0, result.err
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["node"] for event in events if event["event"] == "drained"] == ["a", "b", "c", "d"]


async def test_both_timeouts_act(yard: Yard, clusterctl: Any, here: dict[str, str]) -> None:
    await yard.gateway("gw-1", 50)
    await yard.gateway("gw-2", 0)
    slow = ("drain", "gw-1", "--rate", "1/s", "--settle", "0", "--timeout", "1s")
    result = await clusterctl("--timeout", "10s", *slow, env=here)
    assert (result.code, "not drained within the --timeout" in result.err) == (7, True)
    again = await clusterctl("drain", "status", "-w", "gw-1", "--timeout", "500ms", env=here)
    assert again.code == 7
    yard.etcd.pause()
    dead = await clusterctl("--timeout", "300ms", "drain", "gw-2", "--timeout", "20s", env=here)
    yard.etcd.resume()
    assert (dead.code, "no answer within 0." in dead.err) == (3, True), dead.err
    shown = await clusterctl("drain", "--help")
    assert "Wait no longer than this; the drain goes on. (The one for a call to etcd" in " ".join(shown.out.split())
    assert "After `drain`" in (await clusterctl("--help")).out


async def test_a_limit_that_no_change_could_keep_is_refused(yard: Yard, clusterctl: Any, here: dict[str, str]) -> None:
    for node in ("gw-1", "gw-2", "gw-3"):
        await yard.gateway(node, 50)
    assert (await clusterctl("drain", "gw-1", "--detach", "--rate", "1/s", env=here)).code == 0
    refused = await clusterctl("drain", "set", "gw-1", "--min-active", "3", env=here)
    assert refused.code == 5
    assert "2 active nodes would remain of the 3 that --min-active wants: lower it," in refused.err
    assert await yard.rates(1.0) == 1
    assert (await clusterctl("drain", "set", "gw-1", "--min-active", "2", env=here)).code == 0


async def test_two_operators_at_once_keep_both_limits(yard: Yard, clusterctl: Any, here: dict[str, str]) -> None:
    agents = [await yard.gateway(f"gw-{number}", 10) for number in range(5)]
    most = 0
    common = ("-y", "--settle", "0", "--rate", "30/s", "--max-unavailable", "1")
    both = asyncio.gather(
        clusterctl("drain", "gw-0", "gw-1", *common, env=here), clusterctl("drain", "gw-2", "gw-3", *common, env=here)
    )
    while not both.done():
        await asyncio.sleep(0.02)
        most = max(most, sum(agent.node.state == "draining" for agent in agents))
    assert ([result.code for result in await both], most) == ([0, 0], 1)
