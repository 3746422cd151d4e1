"""`clusterctl auth`: roles and users are made as they are shown, once, and nothing that others made is touched."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from clusterd.testing import AdminError, EtcdBinary, EtcdServer, etcd_binaries

on_every_version = pytest.mark.parametrize(
    "clusterd_etcd_binary", etcd_binaries(), ids=str, indirect=True, scope="session"
)

WHO = ("--node", "gw-1", "--grant", "ann=operator", "--grant", "wall=reader", "--grant", "fleet=agent")
ROLES = {f"clusterd/{kind}" for kind in ("agent", "member", "operator", "reader", "node-gw-1")}
SECRET = "s3cret-of-"


@pytest.fixture
async def etcd(etcd_binary: EtcdBinary) -> AsyncIterator[EtcdServer]:
    """An etcd that hashes passwords fast."""
    async with EtcdServer(binary=etcd_binary, flags=("--bcrypt-cost=4",)) as server:
        yield server


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    """A folder with a password for each user."""
    folder = tmp_path / "pass words"
    folder.mkdir()
    for user in ("root", "gw-1", "ann", "wall", "fleet"):
        (folder / user).write_text(f"{SECRET}{user}\n")
    return folder


@pytest.fixture
def apply(clusterctl: Any, here: dict[str, str], passwords: Path) -> Callable[..., Any]:
    """`await apply("--enable", ...)`: `clusterctl auth apply`, with passwords for all users."""

    async def run(*arguments: str) -> Any:
        result = await clusterctl("auth", "apply", "--passwords", str(passwords), *arguments, env=here)
        assert SECRET not in result.out + result.err
        return result

    return run


async def roles_in(etcd: EtcdServer) -> dict[str, int]:
    """Every role, and how many permissions it has."""
    names = (await etcd.admin.call("auth/role/list")).get("roles", ())
    return {name: len((await etcd.admin.call("auth/role/get", {"role": name})).get("perm", ())) for name in names}


@on_every_version
async def test_what_plan_shows_is_made_once(etcd: EtcdServer, clusterctl: Any, apply: Any) -> None:
    plan = json.loads((await clusterctl("auth", "plan", *WHO, "-o", "json")).out)
    first = await apply(*WHO, "-y")
    assert (first.code, "done:" in first.err) == (0, True)
    assert await roles_in(etcd) == {role["name"]: len(role["rights"]) for role in plan["roles"]}
    assert {role["name"] for role in plan["roles"]} == ROLES
    for user in plan["users"]:
        assert (await etcd.admin.call("auth/user/get", {"name": user["name"]}))["roles"] == user["roles"]
    again = await apply(*WHO, "-y")
    assert (again.code, again.out) == (0, "")
    assert "nothing to do" in again.err


@on_every_version
async def test_the_etcdctl_commands_make_the_same(
    etcd: EtcdServer, clusterctl: Any, apply: Any, passwords: Path
) -> None:
    script = (await clusterctl("auth", "plan", *WHO, "-o", "etcdctl", "--passwords", str(passwords))).out
    assert SECRET not in script
    folder = os.pathsep.join([str(etcd.binary.etcdctl.parent), os.environ["PATH"]])
    env = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": etcd.endpoint, "PATH": folder}
    shell = await asyncio.create_subprocess_exec("sh", "-e", "-c", script, env=env, stdout=asyncio.subprocess.DEVNULL)
    assert await asyncio.wait_for(shell.wait(), 30) == 0
    assert "nothing to do" in (await apply(*WHO)).err
    await etcd.enable_auth()
    etcd.login_as("ann", f"{SECRET}ann")
    await etcd.admin.put("/intents/gw-1", "{}")


async def test_turning_auth_on_needs_a_root(etcd: EtcdServer, apply: Any) -> None:
    refused = await apply(*WHO, "--enable", "-y")
    assert refused.code == 5
    assert "--grant root=root" in refused.err
    assert await roles_in(etcd) == {}
    assert (await apply(*WHO, "--grant", "root=root", "--enable", "-y")).code == 0
    with pytest.raises(AdminError, match="user name is empty"):
        await etcd.admin.get("/nodes/gw-1")
    etcd.login_as("root", f"{SECRET}root")
    assert set(await roles_in(etcd)) == ROLES | {"root"}
    await etcd.admin.call("auth/disable")
    etcd.login_as("", "")
    assert (await apply("--enable", "-y")).code == 0  # there is a root now


async def test_with_auth_on_only_root_may(etcd: EtcdServer, apply: Any, passwords: Path) -> None:
    await apply(*WHO, "--grant", "root=root", "--enable", "-y")
    for user, code in (("root", 0), ("ann", 5)):
        login = ("--user", user, "--password-file", str(passwords / user))
        result = await apply("--node", "gw-2", "--grant", "gw-2=reader", "--dry-run", *login)
        assert result.code == code
    assert "only root may look at users and roles" in result.err
    assert (await apply()).code == 5


async def test_what_others_made_stays_until_it_is_asked_for(etcd: EtcdServer, apply: Any) -> None:
    await apply("--grant", "gw-1=agent", "-y")
    await etcd.admin.grant("clusterd/agent", "/jobs/")
    await etcd.admin.grant("clusterd/operator", "/nodes/", "READWRITE")
    await etcd.admin.add_role("clusterd/others/agent")
    await etcd.admin.call("auth/user/grant", {"user": "gw-1", "role": "clusterd/others/agent"})

    to_own_role = ("--node", "gw-1", "agent", "operator", "-y")
    kept = await apply(*to_own_role)
    assert "3 beyond the plan kept" in kept.err
    assert (await roles_in(etcd))["clusterd/agent"] == 8
    assert (await apply(*to_own_role, "--prune")).code == 0
    assert (await roles_in(etcd))["clusterd/agent"] == 7
    roles = set((await etcd.admin.call("auth/user/get", {"name": "gw-1"}))["roles"])
    assert roles == {"clusterd/member", "clusterd/node-gw-1", "clusterd/others/agent"}
    perms = (await etcd.admin.call("auth/role/get", {"role": "clusterd/operator"}))["perm"]
    assert {"key": "L25vZGVzLw==", "range_end": "L25vZGVzMA=="} in perms  # READ again, which etcd leaves out


async def test_a_right_that_was_there_in_part_is_widened_not_replaced(etcd: EtcdServer, apply: Any) -> None:
    await etcd.admin.add_role("clusterd/reader")
    await etcd.admin.grant("clusterd/reader", "/nodes/", "WRITE")
    assert "readwrite /nodes/…" in (await apply("reader", "-y")).out
    assert "beyond the plan" in (await apply("reader", "-y")).err


async def test_nothing_is_changed_without_a_confirmation(
    etcd: EtcdServer, apply: Any, terminal: Callable[..., AbstractAsyncContextManager[Any]], here: dict[str, str]
) -> None:
    assert (await apply("--dry-run")).code == 0
    unasked = await apply()
    assert unasked.code == 5
    assert "give -y" in unasked.err
    assert await roles_in(etcd) == {}
    async with terminal("auth", "apply", "reader", "--grant", "eve=reader", env=here) as screen:
        for _ in range(2):
            await screen.shows("Password for the etcd user eve" if not _ else "Repeat")
            screen.type("typed-in-secret\n")
        await screen.shows("[y/N]")
        screen.type("y\n")
        assert await screen.ends() == 0
    assert "typed-in-secret" not in screen.shown
    assert set(await roles_in(etcd)) == {"clusterd/reader"}


async def test_a_password_that_is_missing_is_named_before_anything_is_changed(etcd: EtcdServer, apply: Any) -> None:
    result = await apply("--grant", "nobody=reader", "-y")
    assert result.code == 2
    assert "nobody: No such file" in result.err
    assert await roles_in(etcd) == {}


async def test_passwords_are_set_anew_when_that_is_asked_for(etcd: EtcdServer, apply: Any, passwords: Path) -> None:
    await apply("--grant", "ann=operator", "--grant", "root=root", "--enable", "-y")
    (passwords / "ann").write_text(f"{SECRET}new")
    root = ("--user", "root", "--password-file", str(passwords / "root"))
    assert "nothing to do" in (await apply("--grant", "ann=operator", *root)).err
    etcd.login_as("ann", f"{SECRET}ann")
    await etcd.admin.put("/intents/gw-1")
    assert (await apply("--grant", "ann=operator", "--rotate", "-y", *root)).code == 0
    with pytest.raises(AdminError, match="authentication failed"):  # the token is gone with the old password
        await etcd.admin.put("/intents/gw-1")
    etcd.login_as("ann", f"{SECRET}new")
    await etcd.admin.put("/intents/gw-1")
