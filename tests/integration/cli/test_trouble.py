"""What goes wrong on the way to etcd: one line that says what and where, and the exit code of its kind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from clusterd.etcd.process import free_ports
from clusterd.testing import EtcdBinary, EtcdServer
from clusterd.testing.certs import Certificates, make_certificates

COMMANDS = (["nodes"], ["node", "gw-1"], ["route", "k"], ["slots"], ["watch"], ["nodes", "-w"])


def one_line(result: Any) -> str:
    assert result.out == ""
    assert result.err.startswith("clusterctl: ")
    assert result.err.count("\n") == 1
    return str(result.err)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_nobody_at_the_endpoint(clusterctl: Any, command: list[str]) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    result = await clusterctl("--endpoints", endpoint, "--timeout", "500ms", *command)
    assert result.code == 3
    assert f"{endpoint}: connection refused" in one_line(result)


async def test_options_may_stand_after_the_command(clusterctl: Any) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    result = await clusterctl("nodes", "--endpoints", endpoint, "--timeout", "500ms")
    assert f"{endpoint}: connection refused" in one_line(result)


async def test_an_unknown_setting_in_the_environment_is_named(clusterctl: Any) -> None:
    result = await clusterctl("nodes", env={"CLUSTERCTL_ENDPOINT": "http://127.0.0.1:1"})
    assert result.code == 2
    assert "unknown setting CLUSTERCTL_ENDPOINT " in one_line(result)


async def test_tls_that_is_not_trusted_is_refused(etcd_binary: EtcdBinary, tmp_path: Path, clusterctl: Any) -> None:
    certificates = make_certificates(tmp_path / "ours")
    async with EtcdServer(binary=etcd_binary, tls=certificates) as etcd:
        refused = await clusterctl("nodes", "--endpoints", etcd.endpoint, "--timeout", "1s")
        assert refused.code == 3
        assert "TLS failed" in one_line(refused)
        others = make_certificates(tmp_path / "others")
        assert (await clusterctl("nodes", *tls(etcd, others), "--timeout", "1s")).code == 3
        assert (await clusterctl("nodes", *tls(etcd, certificates))).code == 0
        missing = await clusterctl("nodes", "--endpoints", etcd.endpoint, "--cacert", str(tmp_path / "nope.pem"))
        assert missing.code == 2
        assert "nope.pem: no such file" in one_line(missing)


def tls(etcd: EtcdServer, certificates: Certificates) -> list[str]:
    return ["--endpoints", etcd.endpoint, "--cacert", str(certificates.ca)]


@pytest.fixture
async def guarded(fleet: Any) -> EtcdServer:
    """The etcd of a fleet with auth on: `ann` (password pw) reads nodes/, `bob` (pw) may do nothing."""
    admin = fleet.etcd.admin
    await fleet.etcd.enable_auth()
    await admin.add_role("reader")
    await admin.grant("reader", "/nodes/", "READ")
    await admin.add_user("ann", "pw", roles=("reader",))
    await admin.add_user("bob", "pw")
    return fleet.etcd  # type: ignore[no-any-return]


async def test_logins_and_permissions(
    guarded: EtcdServer, clusterctl: Any, here: dict[str, str], password_file: Path
) -> None:
    accepted = await clusterctl("nodes", "--user", "ann", "--password-file", str(password_file), env=here)
    assert accepted.code == 0
    assert "gw-1" in accepted.out  # without the sessions, which ann may not read
    assert (await clusterctl("nodes", env=here | {"ETCDCTL_USER": "ann:pw"})).code == 0
    for user in ("ann:wrong", "bob:pw"):
        refused = await clusterctl("nodes", "--user", user, env=here)
        assert refused.code == 5
        one_line(refused)
    anonymous = await clusterctl("watch", env=here)
    assert anonymous.code == 5
    assert "give a user and a password" in one_line(anonymous)
    unasked = await clusterctl("nodes", "--user", "ann", env=here)
    assert unasked.code == 2
    assert "'ann' has no password" in one_line(unasked)


async def test_a_person_is_asked_for_the_password(
    guarded: EtcdServer, terminal: Callable[..., AbstractAsyncContextManager[Any]], here: dict[str, str]
) -> None:
    async with terminal("nodes", "--user", "ann", env=here) as screen:
        await screen.shows("Password of etcd user ann")
        screen.type("pw\n")
        assert await screen.ends() == 0
    assert "gw-1" in screen.shown
    assert "pw" not in screen.shown.replace("gw-", "")
