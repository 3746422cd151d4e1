"""A fleet on an etcd that asks who is there: TLS, mutual TLS, logins whose tokens expire, permissions."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from clusterd import TLS, EtcdOptions, SessionState, UsageError
from clusterd.etcd.client import Client
from clusterd.etcd.errors import LoginRefused, PermissionDenied, TlsFailed, Unavailable
from clusterd.etcd.ops import put
from clusterd.testing import EtcdBinary, EtcdServer, eventually
from clusterd.testing.certs import make_certificates

PASSWORD = "a-secret-nobody-may-read"


@pytest.fixture
async def guarded(etcd: EtcdServer) -> EtcdServer:
    """An etcd with a user for agents, who may use /fleet/ and nothing else; tokens expire after 5 s."""
    await etcd.enable_auth(token_ttl=5)
    await etcd.admin.add_role("agent")
    await etcd.admin.grant("agent", "/fleet/")
    await etcd.admin.add_user("agent", PASSWORD, roles=("agent",))
    return etcd


def login(etcd: EtcdServer, password: str = PASSWORD) -> EtcdOptions:
    return EtcdOptions((etcd.endpoint,), user="agent", password=password)


async def test_tokens_that_expire_every_five_seconds_disturb_nobody(guarded: EtcdServer, fleet: Any) -> None:
    agents = [await fleet.agent(prefix="/fleet/", etcd=login(guarded), ttl=20) for _ in range(2)]
    witness = await fleet.witness(agents[0])
    await asyncio.sleep(12)  # renewals come every 6.7 s: by then the token is dead, each time
    revision = await agents[1].update(weight=5)
    await asyncio.wait_for(agents[0].wait_for(revision), 5)
    assert all(agent.session.state is SessionState.CONNECTED for agent in agents)
    assert witness.left == []
    assert all(len(agent.topology) == 2 for agent in agents)


async def test_calls_that_find_the_token_expired_together_log_in_once(guarded: EtcdServer) -> None:
    async with Client(login(guarded)) as client:
        await client.range(b"/fleet/")
        assert client.failover.tokens.logins == 1
        client.failover.tokens.token = "expired.1"
        await asyncio.gather(*(client.range(b"/fleet/") for _ in range(20)))
        assert client.failover.tokens.logins == 2


async def test_a_watch_with_an_expired_token_logs_in_again(guarded: EtcdServer) -> None:
    async with Client(login(guarded)) as client:
        await client.put(b"/fleet/a", b"")
        client.failover.tokens.token = "expired.1"
        async with client.watch(b"/fleet/", b"/fleet0", start_revision=1) as watch:
            assert [event.kv.key for event in await anext(watch)] == [b"/fleet/a"]


async def test_an_etcd_restart_that_forgets_all_tokens_is_survived(guarded: EtcdServer, fleet: Any) -> None:
    agent = await fleet.agent(prefix="/fleet/", etcd=login(guarded), ttl=10)
    await guarded.restart()
    revision = await asyncio.wait_for(agent.update(weight=5), 10)
    await asyncio.wait_for(agent.wait_for(revision), 10)


async def test_a_wrong_password_is_refused_once_and_not_asked_again_and_again(guarded: EtcdServer) -> None:
    async with Client(login(guarded, "wrong")) as client:
        for _ in range(5):
            with pytest.raises(LoginRefused, match="check the user name and the password"):
                await client.range(b"/fleet/")
        assert client.failover.tokens.logins == 1


@pytest.mark.parametrize(
    ("options", "prefix", "error", "says"),
    [
        ({"user": "agent", "password": "wrong"}, "/fleet/", LoginRefused, "check the user name and the password"),
        ({"user": "nobody", "password": "x"}, "/fleet/", LoginRefused, "check the user name"),
        ({}, "/fleet/", LoginRefused, "etcd asks for a login"),
        ({"user": "agent", "password": PASSWORD}, "/other/", PermissionDenied, "grant the user's role access"),
    ],
)
async def test_an_agent_that_is_not_let_in_says_why_at_once(
    guarded: EtcdServer, fleet: Any, options: dict[str, str], prefix: str, error: type[Exception], says: str
) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(error, match=says) as raised:
            await fleet.agent(etcd=EtcdOptions((guarded.endpoint,), **options), prefix=prefix)
    assert PASSWORD not in str(raised.value)


async def test_credentials_for_an_etcd_without_auth_are_no_error(etcd: EtcdServer, fleet: Any) -> None:
    agent = await fleet.agent(etcd=login(etcd))
    assert agent.session.state is SessionState.CONNECTED


async def test_auth_turned_on_later_and_a_permission_taken_and_given_back_are_survived(
    etcd: EtcdServer, fleet: Any
) -> None:
    agent = await fleet.agent(etcd=EtcdOptions((etcd.endpoint,), user="root", password="root"), ttl=3)
    witness = await fleet.witness(agent)
    await etcd.enable_auth("root", "root")
    revision = await asyncio.wait_for(agent.update(weight=5), 15)
    await asyncio.wait_for(agent.wait_for(revision), 10)
    assert witness.left == []


async def test_roles_that_change_all_the_time_refuse_no_call(guarded: EtcdServer) -> None:
    """Whoever is asking while roles change hears that its revision of them is old, on each version in other words."""
    async with Client(login(guarded)) as client:
        changed = asyncio.Event()

        async def use() -> int:
            calls = 0
            while not changed.is_set():
                await client.txn([], [put(b"/fleet/a", b"")], [])
                await client.range(b"/fleet/a")
                calls += 1
            return calls

        async with asyncio.TaskGroup() as group:
            users = [group.create_task(use()) for _ in range(8)]
            for number in range(30):
                await guarded.admin.add_role(f"other-{number}")
            changed.set()
        assert all(user.result() for user in users)


async def test_an_etcd_set_back_by_a_snapshot_is_logged_in_to_again(guarded: EtcdServer, fleet: Any) -> None:
    """It lost the login without a word: a call with its token waits until the log is as long as it was then."""
    snapshot = await guarded.snapshot()
    agents = [await fleet.agent(prefix="/fleet/", etcd=login(guarded)) for _ in range(2)]
    for number in range(60):  # a log that is longer than the restored one will be for a while
        await guarded.admin.put("/other", str(number))
    for agent in agents:
        await agent._client.failover.tokens.renew(agent._client.failover.tokens.token)
    await guarded.restore(snapshot)
    await eventually(lambda: all(agent.session.losses for agent in agents), timeout=15)
    await eventually(lambda: all(agent.session.state is SessionState.CONNECTED for agent in agents), timeout=15)


async def test_a_login_that_takes_longer_than_a_call_may_gets_its_time(etcd_binary: EtcdBinary) -> None:
    """A password's hash takes long where many log in together; whoever gives up on it has it made again and again."""
    async with EtcdServer(binary=etcd_binary, flags=["--bcrypt-cost=11"]) as etcd:
        await etcd.admin.add_role("root")
        await etcd.admin.add_user("root", "root", roles=("root",))
        await etcd.admin.call("auth/enable")
        async with Client(EtcdOptions((etcd.endpoint,), user="root", password="root", timeout=0.05)) as client:

            async def read() -> bool:
                with contextlib.suppress(Unavailable):
                    await client.range(b"/k")
                    return True
                return False

            await eventually(read, timeout=60)


def test_a_password_shows_nowhere() -> None:
    options = EtcdOptions(user="agent", password=PASSWORD)
    assert PASSWORD not in repr(options)


@pytest.mark.parametrize("mutual", [False, True])
async def test_a_fleet_over_tls(etcd_binary: Any, fleet_on: Any, tmp_path: Path, mutual: bool) -> None:
    files = make_certificates(tmp_path)
    tls = TLS(files.ca, files.client_cert, files.client_key) if mutual else TLS(files.ca)
    async with (
        EtcdServer(binary=etcd_binary, tls=files, mutual_tls=mutual) as etcd,
        AsyncExitStack() as stack,
    ):
        options = EtcdOptions((etcd.endpoint,), tls=tls)
        first, second = await fleet_on(etcd, stack).agents(2, etcd=options)
        await eventually(lambda: len(first.topology) == 2 == len(second.topology))
        await etcd.restart()
        await asyncio.wait_for(first.update(weight=1), 10)


async def test_a_server_that_can_not_be_trusted_is_not_talked_to(
    etcd_binary: Any, fleet_on: Any, tmp_path: Path
) -> None:
    files = make_certificates(tmp_path / "ours", hosts=("elsewhere.example", "127.0.0.1"))
    others = make_certificates(tmp_path / "others")
    async with EtcdServer(binary=etcd_binary, tls=files, mutual_tls=True) as etcd, AsyncExitStack() as stack:
        fleet = fleet_on(etcd, stack)
        by_name = etcd.endpoint.replace("127.0.0.1", "localhost")
        own = {"cert": files.client_cert, "key": files.client_key}
        for endpoint, tls, says in (
            (etcd.endpoint, TLS(others.ca, **own), "check the CA file"),
            (by_name, TLS(files.ca, **own), "host"),
            (etcd.endpoint, TLS(files.ca), "certificate"),
        ):
            async with asyncio.timeout(10):
                with pytest.raises(TlsFailed, match=says):
                    await fleet.agent(etcd=EtcdOptions((endpoint,), tls=tls))


def test_certificate_files_that_can_not_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "junk.pem").write_text("junk")
    with pytest.raises(UsageError, match=r"missing\.pem: no such file"):
        TLS(tmp_path / "missing.pem").context()
    with pytest.raises(UsageError, match=r"junk\.pem"):
        TLS(None, tmp_path / "junk.pem", tmp_path / "junk.pem").context()
    with pytest.raises(UsageError, match="both"):
        TLS(None, tmp_path / "junk.pem")
