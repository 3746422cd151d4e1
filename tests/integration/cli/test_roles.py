"""What each role may do and may not, on a real etcd with auth on; and that nobody needs more than it has."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from clusterctl.auth.planning import make_plan
from clusterctl.auth.steps import differences

from clusterd import Agent, EtcdOptions, NodeState
from clusterd.etcd.client import Client
from clusterd.etcd.messages import decode_reply
from clusterd.etcd.rbac import AuthState
from clusterd.keys import Keyspace
from clusterd.testing import AdminError, EtcdAdmin, EtcdServer, etcd_binaries, eventually

on_every_version = pytest.mark.parametrize(
    "clusterd_etcd_binary", etcd_binaries(), ids=str, indirect=True, scope="session"
)

TTL = 2
USERS = ("--node gw-1", "--node gw-2", "fleet=agent", "ann=operator", "wall=reader")


@dataclass(frozen=True, slots=True)
class Guarded:
    """An etcd with the users of a fleet, everybody's password being their name."""

    etcd: EtcdServer

    def options(self, user: str) -> EtcdOptions:
        return EtcdOptions((self.etcd.endpoint,), user=user, password=user)

    def agent(self, node: str, user: str = "") -> Agent:
        return Agent(node, "10.0.0.1:8080", etcd=self.options(user or node), ttl=TTL, start_timeout=10.0)

    def admin(self, user: str) -> EtcdAdmin:
        return EtcdAdmin(self.etcd.endpoint, user=user, password=user)

    def env(self, user: str) -> dict[str, str]:
        return {
            "CLUSTERCTL_ENDPOINTS": self.etcd.endpoint,
            "CLUSTERCTL_USER": user,
            "CLUSTERCTL_PASSWORD": user,
        }


async def make_users(etcd: EtcdServer, *users: str) -> None:
    """Make users and roles by the steps that `auth apply` takes, as root."""
    nodes = [user.removeprefix("--node ") for user in users if user.startswith("--node ")]
    plan = make_plan(Keyspace(), ["agent"], nodes, [user for user in users if "=" in user])
    name, password = etcd.admin.credentials
    options = EtcdOptions((etcd.endpoint,), **({"user": name, "password": password} if name else {}))
    async with Client(options) as client:
        for step in differences(plan.roles, plan.users, AuthState()):
            await client.call(*step.call(password=step.user), decode_reply)


@pytest.fixture
async def guarded(etcd: EtcdServer) -> Guarded:
    await etcd.enable_auth()
    await make_users(etcd, *USERS)
    return Guarded(etcd)


# --- What each may not ---

KEYS = (
    *("/nodes/gw-1", "/nodes/gw-2", "/status/gw-1", "/status/gw-2", "/intents/gw-1", "/history/1", "/permits/drain/1"),
    *("/elections/e/1", "/locks/l/1", "/doctor/x", "/other", "/nodesx"),
)
EVERYTHING_SHARED = {"/permits/drain/1", "/elections/e/1", "/locks/l/1"}
NODES = {"/nodes/gw-1", "/nodes/gw-2"}
FIGURES = {"/status/gw-1", "/status/gw-2"}
SEEN = {*NODES, *FIGURES, "/intents/gw-1", "/history/1", *EVERYTHING_SHARED}
MAY: dict[str, tuple[set[str], set[str]]] = {  # what each may read, and write
    "fleet": (
        NODES | FIGURES | EVERYTHING_SHARED | {"/intents/gw-1"},
        NODES | FIGURES | EVERYTHING_SHARED | {"/history/1"},
    ),
    "gw-1": (
        NODES | EVERYTHING_SHARED | {"/status/gw-1", "/intents/gw-1"},
        EVERYTHING_SHARED | {"/nodes/gw-1", "/status/gw-1", "/history/1"},
    ),
    "ann": (SEEN | {"/doctor/x"}, {"/intents/gw-1", "/history/1", "/elections/e/1", "/doctor/x"}),
    "wall": (SEEN, set()),
}


async def allowed(call: Awaitable[Any]) -> bool:
    try:
        await call
    except AdminError as error:
        if "permission denied" not in error.message:
            raise
        return False
    return True


@on_every_version
async def test_nobody_reads_or_writes_more_than_the_role_has(guarded: Guarded) -> None:
    for user, (reads, writes) in MAY.items():
        async with guarded.admin(user) as admin:
            assert {key for key in KEYS if await allowed(admin.get(key))} == reads, user
            assert {key for key in KEYS if await allowed(admin.put(key, "x"))} == writes, user
            assert {key for key in KEYS if await allowed(admin.delete(key))} == writes, user


@on_every_version
async def test_a_node_s_own_user_can_not_end_another_s_registration(guarded: Guarded) -> None:
    async with guarded.agent("gw-2") as victim, guarded.admin("gw-1") as thief, guarded.admin("fleet") as fleet:
        lease = victim.topology.nodes["gw-2"].lease
        for deed in (
            thief.lease_revoke(lease),
            thief.delete("/nodes/gw-2"),
            thief.delete("/nodes/", prefix=True),
            thief.put("/permits/drain/1", lease=lease),
        ):
            assert not await allowed(deed)
        assert await allowed(fleet.lease_revoke(lease))  # the price of one role for all agents
        await eventually(lambda: (node := victim.topology.nodes.get("gw-2")) is not None and node.lease != lease)


async def test_what_no_role_can_stop_among_agents(guarded: Guarded) -> None:
    """Keys of agents that are named by leases or by time are any agent's; so is keeping a lease alive."""
    async with guarded.admin("gw-1") as thief, guarded.admin("root") as root:
        await root.put("/elections/rebalancer/7", "gw-2")
        await root.put("/history/00000-1", "{}")
        lease = await root.lease_grant(60)
        assert await allowed(thief.delete("/elections/rebalancer/7"))
        assert await allowed(thief.delete("/history/", prefix=True))
        assert await allowed(thief.call("lease/keepalive", {"ID": lease}))


@on_every_version
async def test_the_doctor_says_so_where_etcd_lets_nested_transactions_past_the_rights(
    guarded: Guarded, clusterctl: Any
) -> None:
    """GHSA-rfx7-8w68-q57q: before 3.4.42 and 3.5.28 the rights to what stands in a nested transaction aren't asked."""
    put = {"request_put": {"key": base64.b64encode(b"/nodes/gw-2").decode(), "value": ""}}
    nested = {"success": [{"request_txn": {"success": [put]}}]}
    async with guarded.admin("wall") as reader:
        loose = await allowed(reader.txn(nested))
    report = json.loads((await clusterctl("doctor", "-o", "json", env=guarded.env("ann"))).out)
    finding = next(each for each in report["findings"] if each["check"] == "auth")
    warned = finding["level"] == "warn" and "nested transactions" in finding["finding"]
    assert warned or not loose


# --- What each must be able to ---


@pytest.mark.timeout(180)  # a dozen commands, each a process of its own
@on_every_version
async def test_agents_and_operators_do_all_their_work_in_their_roles(guarded: Guarded, clusterctl: Any) -> None:
    async with AsyncExitStack() as stack:
        agents = [
            await stack.enter_async_context(agent)
            for agent in (guarded.agent("gw-1"), guarded.agent("gw-2"), guarded.agent("gw-3", "fleet"))
        ]
        one, two, three = agents
        for agent in agents:
            agent.sessions.count_with(lambda: 0)
        await eventually(lambda: all(len(agent.topology) == 3 for agent in agents))

        async def run(user: str, *arguments: str, code: int = 0) -> str:
            result = await clusterctl(*arguments, env=guarded.env(user))
            assert result.code == code, result.err
            assert "not written" not in result.err
            return str(result.out)

        async with one.election("rebalancer").lead(on_lost="tell") as term, two.lock("migration"):
            assert "gw-1" in await run("wall", "leader", "rebalancer")
            await run("ann", "leader", "rebalancer", "--resign", "-y")
            await asyncio.wait_for(term.lost.wait(), 10)
        await run("ann", "drain", "gw-1", "gw-2", "--settle", "200ms", "--max-unavailable", "1", "-m", "kernel", "-y")
        assert {one.node.state, two.node.state} == {NodeState.DRAINED}
        assert "drained" in await run("wall", "drain", "status", "-o", "jsonl")
        await run("ann", "undrain", "gw-1", "gw-2")
        await eventually(lambda: {agent.node.state for agent in agents} == {NodeState.ACTIVE})
        await run("ann", "cordon", "gw-3")
        await eventually(lambda: three.node.state is NodeState.CORDONED)
        history = await run("wall", "history", "-o", "jsonl")
        assert {"drain", "drained", "undrain", "cordon"} <= {json.loads(line)["what"] for line in history.splitlines()}
        await run("wall", "node", "gw-1")
        await run("wall", "drain", "gw-2", "-y", code=5)
        await run("wall", "cordon", "gw-2", code=5)
        assert two.node.state is NodeState.ACTIVE


@on_every_version
async def test_auth_turned_on_under_a_running_fleet_disturbs_nobody(etcd: EtcdServer, clusterctl: Any) -> None:
    guarded = Guarded(etcd)
    async with guarded.agent("gw-1") as one, guarded.agent("gw-2") as two:
        left: list[str] = []
        await eventually(lambda: len(one.topology) == len(two.topology) == 2)
        await make_users(etcd, *USERS, "root=root")
        await etcd.admin.call("auth/enable")
        etcd.login_as("root", "root")

        async def look() -> None:
            async for change in one.changes():
                left.extend(node.id for node in change.left)

        looking = asyncio.create_task(look())
        revision = await asyncio.wait_for(two.update(weight=7), 10)
        await asyncio.wait_for(one.wait_for(revision), 10)
        assert (await clusterctl("cordon", "gw-1", env=guarded.env("ann"))).code == 0
        await eventually(lambda: one.node.state is NodeState.CORDONED)
        looking.cancel()
        await asyncio.wait([looking])
        assert left == []


async def test_a_role_taken_and_given_back_at_run_time_is_healed(guarded: Guarded) -> None:
    admin = guarded.etcd.admin
    async with guarded.agent("gw-1") as agent, guarded.agent("gw-2") as witness:
        await eventually(lambda: len(witness.topology) == 2)
        for role in ("clusterd/member", "clusterd/node-gw-1"):
            await admin.call("auth/user/revoke", {"name": "gw-1", "role": role})
        update = asyncio.create_task(agent.update(weight=7))
        await asyncio.sleep(1.5 * TTL)
        assert witness.topology.nodes["gw-1"].weight == 100  # renewing a lease needs no right: it stays registered
        for role in ("clusterd/member", "clusterd/node-gw-1"):
            await admin.call("auth/user/grant", {"user": "gw-1", "role": role})
        await asyncio.wait_for(update, 15)
        await eventually(lambda: witness.topology.nodes["gw-1"].weight == 7)


# --- The doctor ---


class Report:
    """What the doctor found of rights."""

    def __init__(self, result: Any) -> None:
        self.code = result.code
        self.err = result.err
        findings = json.loads(result.out)["findings"] if result.out else []
        self.rights = [finding for finding in findings if finding["check"] == "rights"]

    @property
    def levels(self) -> set[str]:
        return {finding["level"] for finding in self.rights}

    @property
    def lacks(self) -> list[str]:
        return [finding["finding"] for finding in self.rights if finding["level"] != "ok"]


@pytest.fixture
def examine(guarded: Guarded, clusterctl: Any) -> Callable[..., Awaitable[Report]]:
    async def run(user: str, *arguments: str) -> Report:
        return Report(await clusterctl("doctor", "-o", "json", *arguments, env=guarded.env(user)))

    return run


@on_every_version
async def test_the_doctor_finds_nothing_missing_in_the_roles_of_the_plan(examine: Any) -> None:
    users = {"fleet": "clusterd/agent", "gw-1": "clusterd/node-gw-1", "ann": "clusterd/operator"}
    reports = await asyncio.gather(*(examine(user) for user in (*users, "wall", "root")))
    for report, role in zip(reports, [*users.values(), "clusterd/reader", "clusterd/agent"], strict=True):
        assert (report.code, report.levels) == (0, {"ok"})
        assert role in report.rights[0]["finding"]


async def test_the_doctor_names_each_right_that_lacks_and_what_to_do(guarded: Guarded, examine: Any) -> None:
    admin = guarded.etcd.admin
    await admin.call("auth/role/revoke", {"role": "clusterd/member", **span("/intents/")})
    await admin.call("auth/role/revoke", {"role": "clusterd/member", **span("/history/")})
    await admin.grant("clusterd/member", "/permits/drain/", "READ")
    await admin.call("auth/role/revoke", {"role": "clusterd/node-gw-1", "key": b64("/status/gw-1")})
    node, asked, other, unknown = await asyncio.gather(
        examine("gw-1"),
        examine("gw-1", "--as", "node-gw-1"),
        examine("gw-1", "--as", "node-gw-2"),
        examine("gw-1", "--as", "king"),
    )
    assert (node.code, node.levels) == (0, {"warn"})
    assert (asked.code, asked.levels) == (5, {"fail"})
    for says in (
        "user 'gw-1' may not read or write /status/gw-1",
        "user 'gw-1' may not read /intents/…",
        "user 'gw-1' may not write /permits/drain/…",
        "user 'gw-1' may not write /history/…",
    ):
        assert sum(line.startswith(says) for line in node.lacks) == 1
    assert len(node.lacks) == len(asked.lacks) == 4
    commands = [finding["advice"] for finding in node.rights]
    assert any(
        "etcdctl role grant-permission --prefix=true ROLE readwrite /permits/drain/`" in each for each in commands
    )
    assert any("/nodes/gw-2" in line for line in other.lacks)
    assert unknown.code == 2
    assert "is none of agent, operator, reader, node-ID" in unknown.err


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def span(prefix: str) -> dict[str, str]:
    return {"key": b64(prefix), "range_end": b64(prefix[:-1] + chr(ord(prefix[-1]) + 1))}
