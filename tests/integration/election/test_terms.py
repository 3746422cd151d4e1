"""One leads at a time, for a term with a fence; the office passes on in order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from clusterd import Deposed, InvalidOfficeName
from clusterd.etcd import ops
from clusterd.testing import EtcdServer, eventually, never


async def test_a_sole_candidate_leads_with_a_key_in_the_format_of_etcds_recipe(etcd: EtcdServer, stage: Any) -> None:
    leader = await stage.leader(value="gw-1")
    (key,) = await etcd.admin.range("/elections/job/")
    assert key.key == f"/elections/job/{key.lease:x}".encode()
    assert key.value == b"gw-1"
    assert leader.term.fence == key.create_revision
    assert leader.term.name == "job"
    assert 0 < leader.term.remaining < 2

    seen = await leader.election.leader()
    assert seen is not None
    assert (seen.id, seen.fence, seen.lease) == ("gw-1", key.create_revision, key.lease)


async def test_an_office_that_nobody_holds_has_no_leader(stage: Any) -> None:
    assert await (await stage.election("vacant")).leader() is None


async def test_the_office_passes_on_in_the_order_of_arrival(stage: Any) -> None:
    line = [await stage.leader()] + [await stage.waiting() for _ in range(3)]
    fences = []
    for now, later in zip(line, [*line[1:], None], strict=True):
        fences.append((await now.elected()).fence)
        if later is not None:
            assert not later.leads
        await now.leave()
    assert fences == sorted(set(fences))


async def test_a_candidate_that_stops_waiting_is_passed_over(stage: Any) -> None:
    leader, second, third = await stage.leader(), await stage.waiting(), await stage.waiting()
    await second.close()
    await never(lambda: third.leads, 0.3)
    await leader.leave()
    await third.elected()


async def test_after_resigning_the_body_goes_on_and_can_write_nothing_more(etcd: EtcdServer, stage: Any) -> None:
    leader, follower = await stage.leader(), await stage.waiting()
    first = leader.term
    await first.put("/out", b"1")
    await first.resign()

    second = await follower.elected(timeout=2)
    assert first.lost.is_set()
    assert first.lost.reason == "it was resigned"
    assert second.fence > first.fence
    with pytest.raises(Deposed, match="election 'job' is not held any more: it was resigned"):
        await first.put("/out", b"2")
    with pytest.raises(Deposed):
        first.guard()
    assert (await etcd.admin.get("/out")).value == b"1"


async def test_a_body_may_resign_itself_and_go_on(stage: Any) -> None:
    follower, done = None, False
    async with (await stage.election()).lead() as term:
        follower = await stage.waiting()
        await term.resign()
        await follower.elected()
        done = True
    assert done


async def test_whoever_holds_the_election_object_can_resign_and_the_body_is_cancelled(stage: Any) -> None:
    leader, follower = await stage.leader(), await stage.waiting()
    await leader.election.resign()
    await follower.elected(timeout=2)
    await leader.ended()
    assert "it was resigned" in str(leader.deposed)
    assert leader.election.term is None
    with pytest.raises(Deposed, match="only its leader can proclaim"):
        await leader.election.proclaim("x")


async def test_an_error_of_the_body_comes_out_as_it_is_and_the_office_passes_on(stage: Any) -> None:
    mistake = ExceptionGroup("of the body", [ValueError("one"), ValueError("two")])
    with pytest.raises(ExceptionGroup) as caught:
        async with (await stage.election()).lead():
            raise mistake
    assert caught.value is mistake
    await stage.leader()


async def test_a_caller_that_is_cancelled_is_not_told_of_a_deposition(etcd: EtcdServer, stage: Any) -> None:
    leader = await stage.leader()
    leader.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader.task
    assert await etcd.admin.range("/elections/job/") == []


async def test_fenced_transactions_run_whole_or_not_at_all(etcd: EtcdServer, stage: Any) -> None:
    leader = await stage.leader()
    create = ops.create_revision_is(b"/jobs/1", 0)
    put, get = ops.put(b"/jobs/1", b"mine"), ops.get(b"/jobs/1")

    first = await leader.term.txn([create], [put], [get])
    again = await leader.term.txn([create], [put], [get])
    assert first.succeeded
    assert first.header.revision == (await etcd.admin.get("/jobs/1")).mod_revision
    assert not again.succeeded
    assert again.found().value == b"mine"

    await etcd.admin.delete("/elections/", prefix=True)
    with pytest.raises(Deposed):
        await leader.term.txn([], [ops.put(b"/jobs/2", b"x")], [ops.put(b"/jobs/2", b"x")])
    assert await etcd.admin.get("/jobs/2") is None


async def test_the_guard_fences_a_transaction_of_the_users_own(etcd: EtcdServer, stage: Any) -> None:
    leader, client = await stage.leader(on_lost="tell"), await stage.client()
    guard = leader.term.guard()
    assert (await client.txn([guard], [ops.put(b"/own", b"1")], [])).succeeded
    await etcd.admin.delete(leader.term.key)
    assert not (await client.txn([guard], [ops.put(b"/own", b"2")], [])).succeeded


@pytest.mark.parametrize("name", ["", "a/b", "/a", "a/", "..", "-x", "a b", "ä", "x" * 129])
async def test_names_that_nest_or_are_no_names_are_refused(stage: Any, name: str) -> None:
    with pytest.raises(InvalidOfficeName, match="is not usable"):
        await stage.election(name)


async def test_elections_whose_names_begin_alike_have_nothing_to_do_with_each_other(stage: Any) -> None:
    leaders = [await stage.leader(name) for name in ("a", "ab", "a.b", "a-1")]
    assert all(leader.leads for leader in leaders)


async def test_a_leader_stays_far_beyond_its_ttl_while_all_is_well(stage: Any) -> None:
    leader, follower = await stage.leader(), await stage.waiting()
    await never(lambda: follower.leads or not leader.leads, 3 * 2)
    await eventually(lambda: leader.term.remaining > 1)
