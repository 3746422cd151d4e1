"""What roles a fleet needs, and the steps to them: worked out without etcd."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from clusterctl import main
from clusterctl.auth.planning import make_plan
from clusterctl.auth.rendering import etcdctl, plan_commands
from clusterctl.auth.steps import Action, Step, Users, differences, excesses
from clusterctl.doctor.access import keeps_rights
from hypothesis import given
from hypothesis import strategies as st

from clusterd.etcd.rbac import AuthState
from clusterd.keys import NODE_ID, Keyspace
from clusterd.rights import (
    EVERYTHING,
    Access,
    Right,
    Role,
    agent_role,
    member_role,
    missing,
    node_role,
    operator_role,
    reader_role,
)

KEYS = Keyspace()
RANGES = st.builds(
    Right,
    st.sampled_from(Access),
    st.sampled_from([b"/a", b"/a/", b"/b/"]),
    st.sampled_from([b"", b"/a0", b"/b0", b"\0"]),
)
ROLES = st.lists(RANGES, max_size=4, unique_by=lambda right: (right.key, right.range_end)).map(tuple)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main.run(arguments) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--grant", "ann"], "give USER=ROLE"),
        (["--grant", "ann=king"], "give USER=ROLE"),
        (["--grant", "a b=reader"], "a user's name must be"),
        (["--grant", "../x=reader"], "a user's name must be"),
        (["--node", "gw 1"], "node id 'gw 1' is not usable"),
        (["--node", "root"], "etcd's administrator"),
    ],
)
def test_what_can_not_be_planned_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main.run(["auth", "plan", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err


def test_fleets_under_other_prefixes_have_roles_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    plan = json.loads(shown(capsys, "--prefix", "/eu/", "auth", "plan", "--node", "a", "-o", "json"))
    assert {role["name"] for role in plan["roles"]} == {
        f"clusterd/eu/{kind}" for kind in ("member", "operator", "reader", "node-a")
    }
    assert all(right["key"].startswith("/eu/") for role in plan["roles"] for right in role["rights"])


def test_the_plan_is_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "auth", "plan", "--grant", "ann=operator").splitlines()
    assert lines[0].split() == ["ROLE", "MAY", "KEYS", "FOR"]
    assert ["clusterd/operator", "readwrite", "/intents/…"] in [line.split()[:3] for line in lines]
    assert lines[-1].split() == ["ann", "clusterd/operator"]


def test_agents_without_elections_may_not_touch_them(capsys: pytest.CaptureFixture[str]) -> None:
    plan = json.loads(shown(capsys, "auth", "plan", "agent", "member", "--no-elections", "-o", "json"))
    keys = {right["key"] for role in plan["roles"] for right in role["rights"]}
    assert keys == {"/nodes/", "/status/", "/intents/", "/permits/drain/", "/history/"}


@pytest.mark.parametrize("kind", ["agent", "member", "reader", "node-gw-1"])
def test_only_operators_may_write_intents(kind: str) -> None:
    plan = make_plan(KEYS, ["agent", "member", "reader"], ["gw-1"], [])
    role = next(role for role in plan.roles if role.name == f"clusterd/{kind}")
    assert list(missing(role.rights, [Right(Access.WRITE, b"/intents/gw-1")]))


def test_an_operator_may_write_nothing_that_nodes_say_of_themselves() -> None:
    own = [Right(Access.WRITE, key) for key in (b"/nodes/gw-1", b"/status/gw-1", b"/permits/drain/1", b"/locks/a/1")]
    assert list(missing(operator_role(KEYS).rights, own)) == own


def test_a_node_with_a_role_of_its_own_may_write_its_own_keys_only() -> None:
    rights = (*node_role(KEYS, "gw-1").rights, *member_role(KEYS).rights)
    for key in (b"/nodes/gw-1", b"/status/gw-1"):
        assert not list(missing(rights, [Right(Access.READWRITE, key)]))
        for other in (key + b"0", key[:-1], key[:-1] + b"2"):
            assert [each.access for each in missing(rights, [Right(Access.WRITE, other)])] == [Access.WRITE]


def test_a_reader_may_write_nothing() -> None:
    assert {right.access for right in reader_role(KEYS).rights} == {Access.READ}


@pytest.mark.parametrize(
    ("version", "keeps"),
    [
        ("3.4.23", False),
        ("3.4.44", True),
        ("3.5.1", False),
        ("3.5.29", False),
        ("3.5.30", True),
        ("3.6.10", False),
        ("3.6.11", True),
        ("3.7.0", True),
        ("3.7.0-rc.1", True),
        ("", True),
    ],
)
def test_which_etcds_let_users_past_their_rights(version: str, keeps: bool) -> None:
    assert keeps_rights(version) is keeps


# --- What is missing ---


def test_root_lacks_nothing() -> None:
    assert not list(missing(EVERYTHING, agent_role(KEYS).rights))


def test_what_lacks_says_which_half_of_it() -> None:
    have = [Right.below(Access.READ, b"/a/"), Right.below(Access.WRITE, b"/b/")]
    wanted = [Right.below(Access.READWRITE, each) for each in (b"/a/", b"/b/", b"/c/")]
    assert [right.access for right in missing(have, wanted)] == [Access.WRITE, Access.READ, Access.READWRITE]


def test_neighbouring_ranges_are_one() -> None:
    have = [Right(Access.READ, b"a", b"c"), Right(Access.READ, b"c", b"e"), Right(Access.READ, b"e")]
    assert not list(missing(have, [Right(Access.READ, b"b", b"e\0")]))
    assert list(missing(have, [Right(Access.READ, b"b", b"e\0\0")]))
    assert list(missing([have[0], have[2]], [Right(Access.READ, b"b", b"d")]))


@given(ROLES, ROLES, st.sampled_from([b"/a", b"/a/x", b"/b", b"/b/", b"/c", b"/z"]), st.sampled_from(Access))
def test_nothing_that_lacks_is_allowed_and_nothing_allowed_lacks(
    have: tuple[Right, ...], wanted: tuple[Right, ...], key: bytes, part: Access
) -> None:
    def allows(rights: tuple[Right, ...]) -> bool:
        return not list(missing(rights, [Right(part, key)]))

    lacks = tuple(missing(have, wanted))
    assert not list(missing((*have, *lacks), wanted))
    if allows(wanted) and not allows(have) and part is not Access.READWRITE:
        assert allows(lacks)


# --- Steps ---


def carried_out(steps: list[Step], state: AuthState) -> AuthState:
    """What etcd has after these steps: a grant takes the place of one of the same range."""
    roles = {name: {(right.key, right.range_end): right for right in rights} for name, rights in state.roles.items()}
    users = {name: set(names) for name, names in state.users.items()}
    for step in steps:
        span = (step.right.key, step.right.range_end)
        if step.action is Action.ADD_ROLE:
            assert step.role not in roles
            roles[step.role] = {}
        elif step.action is Action.GRANT:
            roles[step.role][span] = step.right
        elif step.action is Action.REVOKE:
            del roles[step.role][span]
        elif step.action is Action.ADD_USER:
            assert step.user not in users
            users[step.user] = set()
        elif step.action is Action.GIVE_ROLE:
            assert step.role in roles
            users[step.user].add(step.role)
        elif step.action is Action.TAKE_ROLE:
            users[step.user].remove(step.role)
    kept = {name: tuple(rights.values()) for name, rights in roles.items()}
    return AuthState(False, kept, {name: frozenset(names) for name, names in users.items()})


NAMES = st.sampled_from(["clusterd/a", "clusterd/b"])
STATES = st.builds(
    AuthState,
    st.just(False),
    st.dictionaries(NAMES, ROLES),
    st.dictionaries(st.sampled_from("uv"), st.frozensets(st.sampled_from(["clusterd/a", "clusterd/c", "theirs"]))),
)


@given(ROLES, st.frozensets(NAMES, max_size=1), STATES)
def test_the_steps_lead_to_the_plan_and_take_nothing_away(
    rights: tuple[Right, ...], given_roles: frozenset[str], state: AuthState
) -> None:
    roles = [Role("clusterd/a", rights), Role("clusterd/b")]
    users: Users = {"u": given_roles}
    after = carried_out(differences(roles, users, state), state)
    assert not list(missing(after.roles["clusterd/a"], rights))
    assert given_roles <= after.users["u"]
    assert differences(roles, users, after) == []
    for name, had in state.roles.items():
        assert not list(missing(after.roles[name], had))
    assert all(names <= after.users[user] for user, names in state.users.items())

    pruned = carried_out(excesses(roles, users, after, "clusterd/"), after)
    assert set(pruned.roles["clusterd/a"]) == set(rights)
    assert {role for role in pruned.users["u"] if role != "theirs"} == given_roles
    assert differences(roles, users, pruned) == excesses(roles, users, pruned, "clusterd/") == []


# --- Commands for etcdctl ---


@given(st.from_regex(NODE_ID, fullmatch=True), st.sampled_from(["/", "/a!b;$(x)'/"]))
def test_commands_survive_a_shell(node: str, prefix: str) -> None:
    plan = make_plan(Keyspace(prefix), [], [node] if node != "root" else [], ["ann=operator"])
    for line in plan_commands(plan, None):
        assert shlex.split(line)[0] == "etcdctl"
    spans = [word for line in plan_commands(plan, None) for word in shlex.split(line) if word.startswith(prefix)]
    assert {f"{prefix}nodes/", f"{prefix}intents/"} <= set(spans)


def test_a_password_comes_from_a_file_or_from_who_runs_the_command() -> None:
    step = Step(Action.ADD_USER, user="ann")
    assert etcdctl(step) == "etcdctl user add ann"
    assert etcdctl(step, Path("/run/my pw")) == "etcdctl user add ann --interactive=false < '/run/my pw/ann'"


@pytest.mark.parametrize(
    ("step", "command"),
    [
        (
            Step(Action.REVOKE, "r", right=Right.below(Access.READ, b"/a/")),
            "role revoke-permission --prefix=true r /a/",
        ),
        (Step(Action.REVOKE, "r", right=Right(Access.READ, b"/a", b"/c")), "role revoke-permission r /a /c"),
        (Step(Action.GRANT, "r", right=Right(Access.WRITE, b"/a")), "role grant-permission r write /a"),
        (Step(Action.TAKE_ROLE, "r", "u"), "user revoke-role u r"),
        (Step(Action.SET_PASSWORD, user="u"), "user passwd u"),
        (Step(Action.ENABLE), "auth enable"),
    ],
)
def test_each_step_has_its_command(step: Step, command: str) -> None:
    assert etcdctl(step) == f"etcdctl {command}"
