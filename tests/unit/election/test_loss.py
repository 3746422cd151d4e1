"""A loss happens once, by the clock or by being set; the body of a term is cancelled at it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from clusterd import Deposed
from clusterd.election.loss import Deposing, Loss


def loss_in(seconds: float) -> Loss:
    return Loss("election 'job'", time.monotonic() + seconds)


async def cancel_me_not(loss: Loss, log: list[str]) -> None:
    with Deposing(loss):
        try:
            await asyncio.sleep(5)
        finally:
            log.append("cleaned up")


def test_it_happens_at_its_deadline_without_any_timer() -> None:
    loss = loss_in(0.02)
    assert not loss.is_set()
    assert loss.reason == ""
    time.sleep(0.03)
    assert loss.is_set()
    assert loss.reason == "its lease could not be renewed in time"
    with pytest.raises(Deposed, match="election 'job' is not held any more: its lease"):
        loss.check()


def test_a_renewal_prolongs_it_only_before_it_happened() -> None:
    loss = loss_in(0.05)
    loss.prolong(time.monotonic() + 0.02)
    time.sleep(0.03)
    with pytest.raises(Deposed):
        loss.prolong(time.monotonic() + 100)
    assert loss.is_set()


def test_the_first_reason_stays_and_the_deadline_tells_when() -> None:
    loss = loss_in(100)
    before = time.monotonic()
    loss.set("resigned")
    loss.set("something else")
    assert loss.reason == "resigned"
    assert before <= loss.deadline <= time.monotonic()


def test_what_the_clock_ended_keeps_that_reason() -> None:
    loss = loss_in(-1)
    loss.set("its key is gone")
    assert "renewed in time" in loss.reason
    assert loss.deadline < time.monotonic() - 0.9


async def test_who_waits_for_it_is_told_the_reason() -> None:
    loss = loss_in(100)
    waiter = asyncio.create_task(loss.wait())
    await asyncio.sleep(0)
    loss.set("gone")
    assert await waiter == "gone"
    assert await loss.wait() == "gone"


async def test_the_body_is_cancelled_and_cleans_up_before_deposed_is_raised() -> None:
    loss, log = loss_in(100), list[str]()
    task = asyncio.create_task(cancel_me_not(loss, log))
    await asyncio.sleep(0)
    loss.set("gone")
    with pytest.raises(Deposed, match="gone"):
        await task
    assert log == ["cleaned up"]
    assert task.cancelling() == 0


async def test_a_cancellation_from_outside_stays_one_even_where_both_happen() -> None:
    loss, log = loss_in(100), list[str]()
    task = asyncio.create_task(cancel_me_not(loss, log))
    await asyncio.sleep(0)
    task.cancel()
    loss.set("gone")
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_body_that_ended_is_cancelled_no_more() -> None:
    loss = loss_in(100)
    with Deposing(loss):
        pass
    loss.set("gone")
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_body_that_swallows_the_cancellation_ends_as_it_likes() -> None:
    loss = loss_in(100)
    asyncio.get_running_loop().call_soon(loss.set, "gone")
    with Deposing(loss), suppress(asyncio.CancelledError):
        await asyncio.sleep(5)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_body_that_resigns_goes_on() -> None:
    loss = loss_in(100)
    with Deposing(loss):
        loss.set("resigned", by_choice=True)
        await asyncio.sleep(0.01)


async def test_a_body_that_finds_out_itself_is_cancelled_unless_it_leaves_at_once() -> None:
    loss = loss_in(100)
    with pytest.raises(ValueError, match="told"), Deposing(loss):
        loss.set("a write was refused")
        raise ValueError("told")
    await asyncio.sleep(0.01)

    loss = loss_in(100)
    with pytest.raises(Deposed, match="a write was refused"), Deposing(loss):
        loss.set("a write was refused")
        await asyncio.sleep(5)


async def test_what_is_lost_already_is_not_entered() -> None:
    loss = loss_in(100)
    loss.set("gone")
    with pytest.raises(Deposed), Deposing(loss):
        pytest.fail("it was entered")
