"""A plan of users and roles, and the steps to it, in words, as JSON, and as commands for etcdctl."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from clusterctl.auth.planning import AuthPlan
from clusterctl.auth.steps import Action, Step, differences
from clusterctl.render.tables import Cell, Heading, Table
from clusterd.etcd.rbac import AuthState
from clusterd.rights import Right


def roles_table(plan: AuthPlan) -> Table:
    """Return what each role may do."""
    headings = [Heading(title) for title in ("ROLE", "MAY", "KEYS", "FOR")]
    return Table(
        headings,
        [
            [Cell(role.name, "bold"), Cell(right.access), Cell(keys(right)), Cell(right.why)]
            for role in plan.roles
            for right in role.rights
        ],
    )


def users_table(plan: AuthPlan) -> Table:
    """Return which roles each user has."""
    headings = [Heading("USER"), Heading("ROLES")]
    return Table(headings, [[Cell(user, "bold"), Cell(", ".join(sorted(roles)))] for user, roles in plan.users.items()])


def plan_document(plan: AuthPlan) -> dict[str, Any]:
    """Return the plan as JSON shows it."""
    return {
        "roles": [
            {"name": role.name, "about": role.about, "rights": [_right_document(right) for right in role.rights]}
            for role in plan.roles
        ],
        "users": [{"name": user, "roles": sorted(roles)} for user, roles in plan.users.items()],
    }


def steps_table(steps: Iterable[Step]) -> Table:
    """Return the steps, one a row."""
    rows = [[Cell(step.action, _style(step)), Cell(_whom(step)), Cell(_what(step))] for step in steps]
    return Table([Heading("STEP"), Heading("WHOM"), Heading("WHAT")], list(rows), absent="")


def plan_commands(plan: AuthPlan, folder: Path | None) -> list[str]:
    """Return the commands that make all of the plan in an etcd that has nothing of it."""
    return [etcdctl(step, folder) for step in differences(plan.roles, plan.users, AuthState())]


def etcdctl(step: Step, folder: Path | None = None) -> str:
    """Return the etcdctl command for a step, quoted for a shell.

    A password is read from the file of the user's name in `folder`, or else etcdctl asks for it: it never stands in
    the command, where the process list would show it. etcdctl ends a password at the first blank.
    """
    command = shlex.join(["etcdctl", *_ARGUMENTS[step.action](step)])
    if step.needs_password and folder is not None:
        return f"{command} --interactive=false < {shlex.quote(str(folder / step.user))}"
    return command


def keys(right: Right) -> str:
    """Return which keys a right is about, in words."""
    key = right.key.decode(errors="backslashreplace")
    if not right.range_end:
        return key
    return f"{key}…" if right.is_prefix else f"{key} up to {right.range_end.decode(errors='backslashreplace')}"


def _right_document(right: Right) -> dict[str, Any]:
    return {
        "access": right.access.value,
        "key": right.key.decode(errors="backslashreplace"),
        "prefix": right.is_prefix,
        "why": right.why,
    }


def _whom(step: Step) -> str:
    return step.user or step.role


def _what(step: Step) -> str:
    if step.action in (Action.GRANT, Action.REVOKE):
        return f"{step.right.access} {keys(step.right)}"
    return step.role if step.user else ""


def _style(step: Step) -> str:
    return "red" if step.action in (Action.REVOKE, Action.TAKE_ROLE) else "green"


def _span(right: Right) -> tuple[list[str], list[str]]:
    """Return the flags and the keys by which etcdctl takes a range."""
    key, end = (each.decode(errors="surrogateescape") for each in (right.key, right.range_end))
    if right.is_prefix:
        return ["--prefix=true"], [key]
    return [], [key, end] if end else [key]


def _grant(step: Step) -> list[str]:
    flags, names = _span(step.right)
    return ["role", "grant-permission", *flags, step.role, step.right.access.value, *names]


def _revoke(step: Step) -> list[str]:
    flags, names = _span(step.right)
    return ["role", "revoke-permission", *flags, step.role, *names]


_ARGUMENTS: dict[Action, Callable[[Step], list[str]]] = {
    Action.ADD_ROLE: lambda step: ["role", "add", step.role],
    Action.GRANT: _grant,
    Action.REVOKE: _revoke,
    Action.ADD_USER: lambda step: ["user", "add", step.user],
    Action.SET_PASSWORD: lambda step: ["user", "passwd", step.user],
    Action.GIVE_ROLE: lambda step: ["user", "grant-role", step.user, step.role],
    Action.TAKE_ROLE: lambda step: ["user", "revoke-role", step.user, step.role],
    Action.ENABLE: lambda _: ["auth", "enable"],
}
