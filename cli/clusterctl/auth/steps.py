"""The steps from what etcd has of users and roles to what a fleet needs. Pure."""

from __future__ import annotations

import enum
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clusterd.etcd.rbac import AuthState
from clusterd.rights import EVERYTHING, Access, Right, Role

Users = Mapping[str, frozenset[str]]
"""The roles of each user, by name."""


class Action(enum.StrEnum):
    """One kind of change."""

    ADD_ROLE = "add role"
    GRANT = "grant"
    REVOKE = "revoke"
    ADD_USER = "add user"
    SET_PASSWORD = "set password"  # noqa: S105 - names the action
    GIVE_ROLE = "give role"
    TAKE_ROLE = "take role"
    ENABLE = "turn auth on"


@dataclass(frozen=True, slots=True)
class Step:
    """One change: a right to a role, or a role to a user."""

    action: Action
    role: str = ""
    user: str = ""
    right: Right = EVERYTHING[0]

    @property
    def needs_password(self) -> bool:
        """Whether it sets the user's password."""
        return self.action in (Action.ADD_USER, Action.SET_PASSWORD)

    def call(self, password: str = "") -> tuple[str, dict[str, Any]]:
        """Return the call of etcd that makes the change: its path and its request."""
        path, request = _CALLS[self.action]
        return path, request(self, password)


def differences(wanted: Iterable[Role], users: Users, state: AuthState) -> list[Step]:
    """Return the steps that give all roles their rights and all users their roles; nothing is taken away."""
    return [*(step for role in wanted for step in _for_role(role, state)), *_for_users(users, state)]


def excesses(wanted: Iterable[Role], users: Users, state: AuthState, ours: str) -> list[Step]:
    """Return the steps that take away what goes beyond: from these roles rights, from these users the fleet's roles.

    `ours` is what the names of the fleet's own roles start with: a role that others made stays with its users.
    """
    rights = [step for role in wanted if _is_ours(role.name, ours) for step in _beyond(role, state)]
    beyond = [(user, role) for user, roles in users.items() for role in sorted(state.users.get(user, roles) - roles)]
    return [*rights, *(Step(Action.TAKE_ROLE, role, user) for user, role in beyond if _is_ours(role, ours))]


def _for_role(role: Role, state: AuthState) -> Iterable[Step]:
    if role.name not in state.roles:
        yield Step(Action.ADD_ROLE, role.name)
    have = _by_range(state.roles.get(role.name, ()))
    for right in role.rights:
        parts = have.get(_range(right), frozenset())
        if not right.access.parts <= parts:  # etcd puts what is granted in the place of what was
            yield Step(Action.GRANT, role.name, right=replace(right, access=Access.of(right.access.parts | parts)))


def _for_users(users: Users, state: AuthState) -> Iterable[Step]:
    for user, roles in users.items():
        if user not in state.users:
            yield Step(Action.ADD_USER, user=user)
        for role in sorted(roles - state.users.get(user, frozenset())):
            yield Step(Action.GIVE_ROLE, role, user)


def _beyond(role: Role, state: AuthState) -> Iterable[Step]:
    wanted = _by_range(role.rights)
    for right in state.roles.get(role.name, ()):
        parts = wanted.get(_range(right))
        if parts is None:
            yield Step(Action.REVOKE, role.name, right=right)
        elif not right.access.parts <= parts:
            yield Step(Action.GRANT, role.name, right=replace(right, access=Access.of(parts)))


def _is_ours(role: str, ours: str) -> bool:
    return role.startswith(ours) and "/" not in role.removeprefix(ours)


def _range(right: Right) -> tuple[bytes, bytes]:
    return right.key, right.range_end


def _by_range(rights: Iterable[Right]) -> dict[tuple[bytes, bytes], frozenset[Access]]:
    return {_range(right): right.access.parts for right in rights}


_Request = Callable[[Step, str], dict[str, Any]]


def _permission(step: Step, _: str) -> dict[str, Any]:
    right = step.right
    perm = {"permType": right.access.upper(), "key": right.key, "range_end": right.range_end}
    return {"name": step.role, "perm": perm}


def _revocation(step: Step, _: str) -> dict[str, Any]:
    """In base64 already: etcd3-py's schema of this one call takes keys for text, as they were before etcd 3.4."""
    key, end = (b64encode(each).decode() for each in (step.right.key, step.right.range_end))
    return {"role": step.role, "key": key, "range_end": end}


_CALLS: dict[Action, tuple[str, _Request]] = {
    Action.ADD_ROLE: ("/auth/role/add", lambda step, _: {"name": step.role}),
    Action.GRANT: ("/auth/role/grant", _permission),
    Action.REVOKE: ("/auth/role/revoke", _revocation),
    Action.ADD_USER: ("/auth/user/add", lambda step, password: {"name": step.user, "password": password}),
    Action.SET_PASSWORD: ("/auth/user/changepw", lambda step, password: {"name": step.user, "password": password}),
    Action.GIVE_ROLE: ("/auth/user/grant", lambda step, _: {"user": step.user, "role": step.role}),
    Action.TAKE_ROLE: ("/auth/user/revoke", lambda step, _: {"name": step.user, "role": step.role}),
    Action.ENABLE: ("/auth/enable", lambda *_: {}),
}
