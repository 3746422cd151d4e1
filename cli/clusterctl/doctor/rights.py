"""The check of what our user may do, against what somebody in its part needs."""

from __future__ import annotations

from clusterctl.auth.rendering import keys as describe
from clusterctl.doctor.findings import Finding, fail, ok, warn
from clusterctl.doctor.patient import Patient
from clusterd.errors import UsageError
from clusterd.etcd.errors import LoginRefused, Refused
from clusterd.etcd.rbac import read_own_rights
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

PARTS = ("agent", "operator", "reader", "node-ID")

_NODE = "node-"
_VERBS = {Access.READ: "read", Access.WRITE: "write", Access.READWRITE: "read or write"}


def parse_part(text: str, keyspace: Keyspace) -> Role:
    """Return the role that `--as` names. Raises `UsageError`."""
    known = {"agent": agent_role, "operator": operator_role, "reader": reader_role}
    if text in known:
        return known[text](keyspace)
    if text.startswith(_NODE):
        return _node(keyspace, text.removeprefix(_NODE))
    raise UsageError(f"--as {text!r} is none of {', '.join(PARTS)}")


async def rights(patient: Patient) -> list[Finding]:
    """Whether our user may do all that somebody in its part does: each right that lacks is a finding."""
    user = patient.settings.etcd.user or ""
    have = await _own_rights(patient, user)
    if not patient.client.logged_in:
        return [ok("rights", "not limited: auth is off")]
    role = patient.part or _part(patient.settings.keyspace, have)
    lacks = list(missing(have, role.rights))
    if not lacks:
        return [ok("rights", f"user {user!r} may do all that {role.name} may")]
    level = warn if patient.part is None else fail
    return [level("rights", _lacking(user, right, role), _granting(right, role)) for right in lacks]


async def _own_rights(patient: Patient, user: str) -> tuple[Right, ...]:
    try:
        return await read_own_rights(patient.client, user)
    except LoginRefused:
        raise
    except Refused:  # while auth is off etcd need not know the user
        if patient.client.logged_in:
            raise
        return EVERYTHING


def _part(keyspace: Keyspace, have: tuple[Right, ...]) -> Role:
    """Return the role that the user's rights to write speak of. Agents need not stand in elections."""
    writes = [right for right in have if Access.WRITE in right.access.parts]
    elections = not list(missing(have, [Right.below(Access.WRITE, keyspace.elections)]))
    for right in writes:
        node_id = keyspace.node_id(right.key)
        if not right.range_end and right.key.startswith(keyspace.nodes) and NODE_ID.fullmatch(node_id):
            return _node(keyspace, node_id, elections=elections)
    if not list(missing(have, [Right.below(Access.WRITE, keyspace.nodes)])):
        return agent_role(keyspace, elections=elections)
    if not list(missing(have, [Right.below(Access.WRITE, keyspace.intents)])):
        return operator_role(keyspace)
    return reader_role(keyspace)


def _node(keyspace: Keyspace, node_id: str, *, elections: bool = True) -> Role:
    """What a node may do by both its roles together. Raises `InvalidNodeId`."""
    own, shared = node_role(keyspace, node_id), member_role(keyspace, elections=elections)
    return Role(f"{shared.name} with {own.name}", (*own.rights, *shared.rights))


def _lacking(user: str, right: Right, role: Role) -> str:
    return f"user {user!r} may not {_VERBS[right.access]} {describe(right)}, as {role.name} may: {right.why}"


def _granting(right: Right, role: Role) -> str:
    access = next(each.access for each in role.rights if (each.key, each.range_end) == (right.key, right.range_end))
    flag = "--prefix=true " if right.is_prefix else ""
    command = f"etcdctl role grant-permission {flag}ROLE {access} {right.key.decode(errors='backslashreplace')}"
    return f"as root: `clusterctl auth apply`, or `{command}`"
