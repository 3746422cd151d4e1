"""What the harness does to a single etcd, seen through another client of it."""

from __future__ import annotations

import asyncio
import time

import pytest

from clusterd.child import ChildError
from clusterd.errors import UsageError
from clusterd.testing import AdminError, EtcdBinary, EtcdServer


async def test_a_fresh_server_is_empty_and_of_the_version_asked_for(etcd: EtcdServer, etcd_binary: EtcdBinary) -> None:
    status = await etcd.admin.status()
    assert tuple(map(int, status["version"].split("."))) == etcd_binary.version
    assert await etcd.admin.range("") == []


async def test_keys_are_put_read_listed_and_deleted(etcd: EtcdServer) -> None:
    admin = etcd.admin
    revision = await admin.put("/a/1", "one")
    await admin.put("/a/2", b"\xff\x00")
    await admin.put("/b", "other")

    first = await admin.get("/a/1")
    assert first is not None
    assert (first.value, first.mod_revision, first.lease) == (b"one", revision, 0)
    assert [kv.value for kv in await admin.range("/a/")] == [b"one", b"\xff\x00"]
    assert await admin.delete("/a/", prefix=True) == 2
    assert await admin.delete("/b") == 1
    assert await admin.get("/b") is None


async def test_a_revoked_lease_takes_its_keys_along(etcd: EtcdServer) -> None:
    lease = await etcd.admin.lease_grant(60)
    await etcd.admin.put("/leased", "x", lease=lease)
    assert await etcd.admin.leases() == [lease]
    assert 50 < await etcd.admin.lease_ttl(lease) <= 60

    await etcd.admin.lease_revoke(lease)
    assert await etcd.admin.get("/leased") is None
    assert await etcd.admin.lease_ttl(lease) == -1


async def test_data_survives_a_stop_and_a_kill(etcd: EtcdServer) -> None:
    await etcd.admin.put("/kept", "1")
    await etcd.restart()
    await etcd.kill()
    assert not etcd.process.running
    await etcd.start()
    kept = await etcd.admin.get("/kept")
    assert kept is not None
    assert kept.value == b"1"


async def test_a_paused_server_keeps_its_clients_waiting_until_it_is_resumed(etcd: EtcdServer) -> None:
    etcd.pause()
    call = asyncio.create_task(etcd.admin.put("/late", "1"))
    done, _ = await asyncio.wait([call], timeout=0.3)
    assert not done
    etcd.resume()
    assert await call > 0


async def test_a_paused_server_can_be_stopped(etcd: EtcdServer) -> None:
    etcd.pause()
    before = time.monotonic()
    await etcd.stop()
    assert time.monotonic() - before < 3
    with pytest.raises(ChildError, match="has ended"):
        etcd.resume()


async def test_a_wipe_empties_it_and_sets_the_revision_back(etcd: EtcdServer) -> None:
    before = await etcd.admin.status()
    revision = await etcd.admin.put("/gone", "1")
    await etcd.wipe()
    assert await etcd.admin.range("") == []
    assert await etcd.admin.revision() < revision
    # The trap that clients must not fall into: the cluster id alone doesn't tell.
    assert (await etcd.admin.status())["header"]["cluster_id"] == before["header"]["cluster_id"]

    await etcd.wipe(new_cluster_id=True)
    assert (await etcd.admin.status())["header"]["cluster_id"] != before["header"]["cluster_id"]


@pytest.mark.parametrize("new_cluster_id", [False, True])
async def test_a_restored_snapshot_brings_the_old_keys_and_revision_back(
    etcd: EtcdServer, new_cluster_id: bool
) -> None:
    cluster_id = (await etcd.admin.status())["header"]["cluster_id"]
    revision = await etcd.admin.put("/old", "1")
    snapshot = await etcd.snapshot()
    for _ in range(10):
        await etcd.admin.put("/new", "1")

    await etcd.restore(snapshot, new_cluster_id=new_cluster_id)
    assert [kv.key for kv in await etcd.admin.range("/")] == [b"/old"]
    assert await etcd.admin.revision() == revision
    assert ((await etcd.admin.status())["header"]["cluster_id"] != cluster_id) is new_cluster_id


async def test_compacted_history_cannot_be_read(etcd: EtcdServer) -> None:
    first = await etcd.admin.put("/k", "1")
    await etcd.admin.put("/k", "2")
    await etcd.compact()
    with pytest.raises(AdminError, match="compacted"):
        await etcd.admin.call("kv/range", {"key": "L2s=", "revision": first})


async def test_a_full_server_refuses_puts_and_raises_the_alarm(etcd_binary: EtcdBinary) -> None:
    async with EtcdServer(binary=etcd_binary, quota_bytes=1 << 20) as etcd:
        with pytest.raises(AdminError, match="space exceeded") as refused:
            await fill(etcd)
        assert refused.value.code == 8
        assert await etcd.admin.alarms() == ["NOSPACE"]


async def fill(etcd: EtcdServer) -> None:
    for number in range(100):
        await etcd.admin.put(f"/big/{number}", b"x" * 100_000)


async def test_with_auth_each_user_may_do_what_the_role_allows(etcd: EtcdServer) -> None:
    await etcd.enable_auth("admin", "secret")
    await etcd.admin.add_role("reader")
    await etcd.admin.grant("reader", "/pub/", "READ")
    await etcd.admin.add_user("ann", "pw", roles=("reader",))
    await etcd.admin.put("/pub/k", "1")

    etcd.login_as("ann", "pw")
    assert len(await etcd.admin.range("/pub/")) == 1
    with pytest.raises(AdminError, match="permission denied"):
        await etcd.admin.put("/pub/k", "2")
    etcd.login_as("ann", "wrong")
    with pytest.raises(AdminError, match="invalid user ID or password"):
        await etcd.admin.range("/pub/")
    etcd.login_as("", "")
    with pytest.raises(AdminError, match="user name is empty"):
        await etcd.admin.range("/pub/")


async def test_tokens_lapse_and_the_admin_logs_in_again(etcd: EtcdServer) -> None:
    await etcd.enable_auth(token_ttl=1)
    await etcd.admin.put("/k", "1")
    await asyncio.sleep(3.5)
    await etcd.admin.put("/k", "2")


async def test_a_snapshot_can_be_had_with_auth_on(etcd: EtcdServer) -> None:
    await etcd.enable_auth()
    await etcd.admin.put("/k", "1")
    await etcd.restore(await etcd.snapshot())
    assert await etcd.admin.get("/k") is not None


async def test_it_starts_fast_enough_for_a_fixture(etcd_binary: EtcdBinary) -> None:
    before = time.monotonic()
    async with EtcdServer(binary=etcd_binary):
        pass
    assert time.monotonic() - before < 3  # usually 0.3; a loaded machine gets some slack


async def test_a_full_server_has_room_again(etcd_binary: EtcdBinary) -> None:
    async with EtcdServer(binary=etcd_binary, quota_bytes=16 << 20) as etcd:
        await etcd.admin.put("/kept", "1")
        await etcd.fill()
        with pytest.raises(AdminError, match="space exceeded"):
            await etcd.admin.put("/k", "1")
        await etcd.make_room()
        await etcd.admin.put("/k", "1")
        assert await etcd.admin.alarms() == []
        assert [kv.key for kv in await etcd.admin.range("/")] == [b"/k", b"/kept"]


async def test_a_server_without_a_quota_can_not_be_filled(etcd: EtcdServer) -> None:
    with pytest.raises(UsageError, match="give quota_bytes"):
        await etcd.fill()


async def test_the_keys_of_a_lease_can_be_asked_for(etcd: EtcdServer) -> None:
    lease = await etcd.admin.lease_grant(60)
    assert await etcd.admin.lease_keys(lease) == []
    await etcd.admin.put("/leased", "x", lease=lease)
    assert await etcd.admin.lease_keys(lease) == [b"/leased"]
