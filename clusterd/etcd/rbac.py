"""etcd's users and roles, as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from clusterd.etcd.client import Client
from clusterd.etcd.messages import decode_role, decode_roles, decode_users
from clusterd.rights import EVERYTHING, ROOT, Access, Right


@dataclass(frozen=True, slots=True)
class AuthState:
    """What etcd knows: whether it asks for logins, roles and what they may do, users and the roles that they have."""

    enabled: bool = False
    roles: Mapping[str, tuple[Right, ...]] = field(default_factory=dict)
    users: Mapping[str, frozenset[str]] = field(default_factory=dict)


async def read_auth(client: Client, roles: Iterable[str], users: Iterable[str]) -> AuthState:
    """Return what there is of these roles and users; needs the rights of root while auth is on. Raises `EtcdError`."""
    known_roles = (await client.call("/auth/role/list", {}, decode_roles)).roles
    known_users = (await client.call("/auth/user/list", {}, decode_users)).users
    return AuthState(
        client.logged_in,
        {name: await read_rights(client, name) for name in roles if name in known_roles},
        {name: await read_roles(client, name) for name in users if name in known_users},
    )


async def read_roles(client: Client, user: str) -> frozenset[str]:
    """Return the roles that a user has. Everybody may ask that of themselves. Raises `EtcdError`."""
    return frozenset((await client.call("/auth/user/get", {"name": user}, decode_roles)).roles)


async def read_rights(client: Client, role: str) -> tuple[Right, ...]:
    """Return what a role may do. Everybody may ask that of the roles that they have. Raises `EtcdError`."""
    reply = await client.call("/auth/role/get", {"role": role}, decode_role)
    return tuple(Right(Access(perm.permType.lower()), perm.key, perm.range_end) for perm in reply.perm)


async def read_own_rights(client: Client, user: str) -> tuple[Right, ...]:
    """Return all that the client's own user may do. Raises `EtcdError`."""
    roles = await read_roles(client, user)
    if ROOT in roles:
        return EVERYTHING
    return tuple([right for role in sorted(roles) for right in await read_rights(client, role)])
