"""Leadership through restarts, partitions and silence of etcd: kept where it is certain, ended before it isn't."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest

from clusterd.testing import AdminError, EtcdBinary, EtcdServer, TcpProxy, eventually, never

TTL = 2


async def test_a_restart_of_etcd_within_the_ttl_costs_nobody_the_office(etcd: EtcdServer, stage: Any) -> None:
    leader, follower = await stage.leader(ttl=10), await stage.waiting(ttl=10)
    await etcd.restart()
    await never(lambda: follower.leads or not leader.leads, 2)
    await leader.leave()
    await follower.elected()


async def test_an_etcd_that_is_gone_ends_the_term_within_the_ttl(etcd: EtcdServer, stage: Any) -> None:
    leader = await stage.leader()
    await etcd.stop()
    stopped = time.monotonic()
    await leader.ended(TTL + 4)
    assert leader.stopped - stopped < TTL
    assert "could not be renewed in time" in str(leader.deposed)
    await etcd.start()


async def test_a_leader_that_is_cut_off_steps_down_before_another_one_leads(etcd: EtcdServer, stage: Any) -> None:
    async with TcpProxy(etcd.endpoint) as proxy:
        leader = await stage.leader(etcd=proxy.endpoint)
        follower = await stage.waiting()
        proxy.drop()
        cut = time.monotonic()
        await follower.elected()
        assert leader.stopped
        assert cut < leader.stopped < follower.began
        assert leader.term.lost.is_set()
        await proxy.heal()
        await leader.ended()
        assert follower.leads


async def test_a_member_that_fails_costs_nobody_the_office(etcd_cluster: Any, grand_stage: Any) -> None:
    leader, follower = await grand_stage.leader(ttl=5), await grand_stage.waiting(ttl=5)
    for member in etcd_cluster.members:
        member.pause()
        await never(lambda: follower.leads or not leader.leads, 2)
        member.resume()
        await etcd_cluster.wait_healthy()
    await leader.leave()
    await follower.elected()


async def test_a_campaign_whose_answer_was_lost_leaves_one_key_and_leads(etcd: EtcdServer, stage: Any) -> None:
    """The request arrives, its answer doesn't: the candidate asks again, and finds its own key."""
    async with TcpProxy(etcd.endpoint) as proxy:
        client = await stage.client(proxy.endpoint)
        await client.range(b"/warm-up")
        original = client.txn

        async def answer_is_lost(*pieces: Any, **options: Any) -> Any:
            client.txn = original
            await original(*pieces, **options)
            proxy.reset()
            return await original(*pieces, **options)

        client.txn = answer_is_lost
        election = await stage.election()
        election._contest._client = client
        async with election.lead() as term:
            (key,) = await etcd.admin.range("/elections/job/")
            assert (key.key, key.create_revision, key.version) == (term.key, term.fence, 1)


async def test_candidates_that_met_a_silent_etcd_are_one_each_when_it_speaks_again(
    etcd: EtcdServer, stage: Any
) -> None:
    etcd.pause()
    contenders = [await stage.contender(ttl=10) for _ in range(3)]
    await asyncio.sleep(3)
    etcd.resume()

    async def one_leads_and_all_stand() -> bool:
        keys = await etcd.admin.range("/elections/job/")
        return len(keys) == 3 and sum(contender.leads for contender in contenders) == 1

    await eventually(one_leads_and_all_stand)


async def test_a_full_etcd_takes_no_candidates_and_still_lets_the_office_pass_on(
    etcd_binary: EtcdBinary, stage_on: Any
) -> None:
    async with AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(EtcdServer(binary=etcd_binary, quota_bytes=8 * 1024 * 1024))
        stage = stage_on(etcd, stack)
        leader, follower = await stage.leader(), await stage.waiting()
        with pytest.raises(AdminError):
            while True:
                await etcd.admin.put("/filler", b"x" * 500_000)
        latecomer = await stage.contender()
        await never(lambda: follower.leads or latecomer.leads or not leader.leads, 2 * TTL)
        await leader.leave()
        await follower.elected()
        assert follower.leads
        assert not latecomer.task.done()


async def test_data_that_was_lost_ends_the_term_and_the_election_begins_anew(etcd: EtcdServer, stage: Any) -> None:
    leader = await stage.leader(ttl=10)
    await etcd.wipe()
    await leader.ended(12)
    await stage.leader(ttl=10)
