"""A term ends at once when somebody takes the office away, and nobody acts in an office that they never got."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from clusterd import Deposed
from clusterd.election import depose, list_elections, read_election
from clusterd.etcd.client import Client
from clusterd.etcd.options import EtcdOptions
from clusterd.history import HistoryEntry, read_history
from clusterd.keys import Keyspace
from clusterd.testing import EtcdServer, TcpProxy, eventually, never

AT_ONCE = 1.0
TOLD = HistoryEntry(at="2026-01-31T12:00:00+00:00", what="depose", node="gw-1", by="ann@ops")


async def test_a_lease_revoked_by_hand_ends_the_term_and_cancels_the_body(etcd: EtcdServer, stage: Any) -> None:
    leader, follower = await stage.leader(ttl=30), await stage.waiting(ttl=30)
    revoked = time.monotonic()
    await etcd.admin.lease_revoke((await leader.election.leader()).lease)

    await leader.ended(AT_ONCE)
    assert leader.stopped - revoked < AT_ONCE
    assert "its key is gone" in str(leader.deposed)
    await follower.elected(timeout=2)
    assert follower.began >= leader.stopped


async def test_a_key_deleted_by_hand_ends_the_term_and_the_next_one_settles_first(etcd: EtcdServer, stage: Any) -> None:
    leader, follower = await stage.leader(ttl=30), await stage.waiting(ttl=30, settle=0.5)
    deleted = time.monotonic()
    await etcd.admin.delete(leader.term.key)

    await leader.ended(AT_ONCE)
    await follower.elected()
    assert follower.began - deleted > 0.5
    assert follower.began > leader.stopped


async def test_a_body_that_is_only_told_goes_on_and_sees_the_loss(etcd: EtcdServer, stage: Any) -> None:
    leader = await stage.leader(on_lost="tell", ttl=30)
    await etcd.admin.delete(leader.term.key)
    async with asyncio.timeout(AT_ONCE):
        assert "its key is gone" in await leader.term.lost.wait()
    assert not leader.task.done()
    assert leader.term.remaining == 0
    with pytest.raises(Deposed):
        await leader.term.put("/x", b"")
    await leader.leave()
    assert leader.deposed is None


async def test_a_write_that_is_refused_ends_the_term(etcd: EtcdServer, stage: Any) -> None:
    election = await stage.election()
    with pytest.raises(Deposed):
        async with election.lead() as term:
            await etcd.admin.delete(term.key)
            await term.put("/x", b"")
    assert await etcd.admin.get("/x") is None


async def test_who_lost_its_lease_while_waiting_never_leads_in_its_name(etcd: EtcdServer, stage: Any) -> None:
    """Phantom leadership: the lease dies while its owner waits, and then the predecessor leaves."""
    leader, waiting = await stage.leader(), await stage.waiting()
    keys = await etcd.admin.range("/elections/job/")
    phantom = max(keys, key=lambda kv: kv.create_revision)
    await etcd.admin.lease_revoke(phantom.lease)
    await leader.leave()

    term = await waiting.elected()
    assert term.fence > phantom.create_revision
    assert (await etcd.admin.get(term.key)).create_revision == term.fence


async def test_a_waiting_candidate_whose_key_was_deleted_stands_again(etcd: EtcdServer, stage: Any) -> None:
    leader, waiting = await stage.leader(), await stage.waiting()
    mine = max(await etcd.admin.range("/elections/job/"), key=lambda kv: kv.create_revision)
    await etcd.admin.delete(mine.key)

    async def stands_again() -> bool:
        return len(await etcd.admin.range("/elections/job/")) == 2

    await eventually(stands_again)
    await leader.leave()
    assert (await waiting.elected()).fence > mine.create_revision


async def test_an_operator_sees_all_elections_and_deposes_a_leader_but_never_its_successor(
    etcd: EtcdServer, stage: Any
) -> None:
    leader, follower = await stage.leader("job", value="gw-1"), await stage.waiting("job", value="gw-2")
    await stage.leader("other", value="gw-3")
    client = await stage.client()

    job, other = await list_elections(client, Keyspace())
    assert (job.name, job.leader.id, [c.id for c in job.waiting]) == ("job", "gw-1", ["gw-2"])
    assert (other.name, other.leader.id, other.waiting) == ("other", "gw-3", ())

    assert await depose(client, Keyspace(), job.leader, TOLD)
    await leader.ended(AT_ONCE)
    await follower.elected()
    assert not await depose(client, Keyspace(), job.leader, TOLD)
    await never(lambda: not follower.leads, 0.3)
    assert [view.leader.id for view in await list_elections(client, Keyspace())] == ["gw-2", "gw-3"]
    assert await read_history(client, Keyspace()) == [TOLD]


async def test_who_deposed_a_leader_is_told_so_though_the_answer_was_lost(etcd: EtcdServer, stage: Any) -> None:
    """The request arrives, its answer doesn't: what is asked again finds that it was done, and by whom."""
    leader, follower = await stage.leader("job", value="gw-1"), await stage.waiting("job", value="gw-2")
    async with TcpProxy(etcd.endpoint) as proxy:
        client = await stage.client(proxy.endpoint)
        election = await read_election(client, Keyspace(), "job")
        assert election is not None
        proxy.delay(0.3)
        asked = asyncio.create_task(depose(client, Keyspace(), election.leader, TOLD), name="operator")
        await follower.elected()
        assert not asked.done()
        proxy.reset()
        await proxy.heal()
        assert await asked
        assert not await depose(client, Keyspace(), election.leader, TOLD)
    await leader.ended(AT_ONCE)
    assert follower.leads


async def test_a_leader_is_deposed_also_where_nothing_can_be_told(etcd: EtcdServer) -> None:
    lease = await etcd.admin.lease_grant(60)
    await etcd.admin.put(f"/elections/job/{lease:x}", b"gw-1", lease=lease)
    await etcd.enable_auth()
    await etcd.admin.add_role("offices")
    await etcd.admin.grant("offices", "/elections/", "READWRITE")
    await etcd.admin.add_user("ann", "pw", roles=("offices",))
    async with Client(EtcdOptions((etcd.endpoint,), user="ann", password="pw")) as client:
        election = await read_election(client, Keyspace(), "job")
        assert election is not None
        assert await depose(client, Keyspace(), election.leader, TOLD)
        assert await read_election(client, Keyspace(), "job") is None


async def test_an_office_resigned_in_order_is_taken_over_without_settling(stage: Any) -> None:
    leader, follower = await stage.leader(ttl=30), await stage.waiting(ttl=30, settle=20)
    await leader.leave()
    await follower.elected(timeout=2)
