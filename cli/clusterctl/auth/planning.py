"""What was asked for on the command line, as roles and users. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clusterctl.auth.steps import Users
from clusterd.errors import UsageError
from clusterd.keys import NODE_ID, Keyspace
from clusterd.rights import ROOT, Role, agent_role, member_role, node_role, operator_role, reader_role, role_name

KINDS = ("agent", "member", "operator", "reader")


@dataclass(frozen=True, slots=True)
class AuthPlan:
    """The roles that a fleet needs, and the users with theirs; `ours` is what the names of its roles start with."""

    roles: tuple[Role, ...]
    users: Users
    ours: str


def make_plan(
    keyspace: Keyspace, kinds: Iterable[str], nodes: Iterable[str], grants: Iterable[str], *, elections: bool = True
) -> AuthPlan:
    """Return the plan: `kinds` of roles (empty: those that a fleet needs), a role and a user for each of `nodes`, and
    users by `grants` like `ann=operator`. Raises `UsageError`.
    """
    nodes, given = list(dict.fromkeys(nodes)), [_grant(text) for text in grants]
    users: dict[str, set[str]] = {
        node: {role_name(keyspace, each) for each in ("member", f"node-{node}")} for node in nodes
    }
    if ROOT in users:
        raise UsageError("a node called root can't have a user of its own name: that is etcd's administrator")
    for user, kind in given:
        users.setdefault(user, set()).add(ROOT if kind == ROOT else role_name(keyspace, kind))
    wanted = {*(kinds or _needed(nodes)), *(kind for _, kind in given), *(["member"] if nodes else [])}
    roles = [*_shared(keyspace, wanted, elections=elections), *(node_role(keyspace, node) for node in nodes)]
    return AuthPlan(tuple(roles), {user: frozenset(names) for user, names in users.items()}, role_name(keyspace, ""))


def _needed(nodes: Iterable[str]) -> tuple[str, ...]:
    return ("member" if nodes else "agent", "operator", "reader")


def _shared(keyspace: Keyspace, wanted: Iterable[str], *, elections: bool) -> list[Role]:
    known = {
        "agent": agent_role(keyspace, elections=elections),
        "member": member_role(keyspace, elections=elections),
        "operator": operator_role(keyspace),
        "reader": reader_role(keyspace),
        ROOT: Role(ROOT, about="etcd's administrators"),
    }
    return [role for kind, role in known.items() if kind in wanted]


def _grant(text: str) -> tuple[str, str]:
    user, equals, kind = text.partition("=")
    if not equals or kind not in (*KINDS, ROOT):
        raise UsageError(f"--grant {text!r} can't be used: give USER=ROLE, the role one of {', '.join((*KINDS, ROOT))}")
    if not NODE_ID.fullmatch(user):
        raise UsageError(f"--grant {text!r}: a user's name must be made of A-Z a-z 0-9 . _ -")
    return user, kind
