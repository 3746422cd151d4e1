"""Deadlines, tasks with owners, and pauses of random length."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.aio import (
    Backoff,
    Crowd,
    Deadline,
    RunsOnce,
    Signal,
    end_within,
    level_for,
    needing,
    plain_errors,
    run_together,
)
from clusterd.errors import UsageError


class Boom(Exception):
    pass


async def boom(message: str = "boom", after: float = 0.0) -> None:
    await asyncio.sleep(after)
    raise Boom(message)


def test_a_deadline_runs_out_and_stays_out() -> None:
    deadline = Deadline.after(0.02)
    assert 0.0 < deadline.remaining <= 0.02
    assert not deadline.expired
    time.sleep(0.03)
    assert deadline.expired
    assert deadline.remaining == 0.0
    assert deadline.share(3) == 0.0


@given(st.integers(1, 7), st.floats(1.0, 60.0))
def test_the_shares_of_a_deadline_fit_into_it(parts: int, seconds: float) -> None:
    deadline = Deadline.after(seconds)
    assert seconds / parts * 0.9 <= deadline.share(parts, floor=0.0) <= seconds / parts


def test_a_share_is_long_enough_to_succeed_while_there_is_time() -> None:
    assert Deadline.after(1.0).share(10, floor=0.5) == 0.5
    assert Deadline.after(0.1).share(10, floor=0.5) <= 0.1


async def test_the_one_error_of_a_group_comes_out_as_itself_with_its_cause() -> None:
    async def fails() -> None:
        raise Boom from KeyError("why")

    with pytest.raises(Boom) as caught:
        async with plain_errors(), asyncio.TaskGroup() as tasks:
            tasks.create_task(fails())
    assert isinstance(caught.value.__cause__, KeyError)


async def test_the_first_of_several_errors_comes_out_with_the_group_as_its_cause() -> None:
    with pytest.raises(Boom, match="one") as caught:
        async with plain_errors():
            raise BaseExceptionGroup("", [Boom("one"), Boom("two")])
    assert isinstance(caught.value.__cause__, BaseExceptionGroup)


async def test_a_group_that_a_task_raised_itself_stays_a_group() -> None:
    own = ExceptionGroup("my own", [Boom("one"), Boom("two")])
    with pytest.raises(ExceptionGroup) as caught:
        async with plain_errors():
            raise ExceptionGroup("the task group's", [own])
    assert caught.value is own


async def test_an_error_without_a_group_passes() -> None:
    with pytest.raises(Boom):
        async with plain_errors():
            raise Boom


async def test_coroutines_run_side_by_side_in_tasks_of_their_names_until_all_end() -> None:
    seen, both = set(), asyncio.Barrier(2)

    async def note() -> None:
        seen.add(getattr(asyncio.current_task(), "get_name", str)())
        async with asyncio.timeout(10):
            await both.wait()

    await run_together(**{"clusterd one": note(), "clusterd two": note()})
    assert seen == {"clusterd one", "clusterd two"}


async def test_when_one_fails_the_others_are_cancelled_and_awaited() -> None:
    cleaned = False

    async def lasting() -> None:
        nonlocal cleaned
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned = True

    with pytest.raises(Boom):
        await run_together(lasting=lasting(), failing=boom(after=0.01))
    assert cleaned


async def test_who_cancels_the_caller_cancels_them_all() -> None:
    running = asyncio.create_task(run_together(one=asyncio.sleep(60), two=asyncio.sleep(60)))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_caller_that_is_cancelled_while_a_failure_unwinds_is_cancelled() -> None:
    unwinding, go_on = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            unwinding.set()
            await go_on.wait()

    running = asyncio.create_task(run_together(slow=slow_to_end(), failing=boom()))
    await unwinding.wait()
    running.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_failure_leaves_the_caller_as_one_whom_nobody_cancelled() -> None:
    with pytest.raises(Boom):
        await run_together(failing=boom())
    caller = asyncio.current_task()
    assert caller is not None
    assert caller.cancelling() == 0


async def test_a_caller_that_is_cancelled_at_once_leaves_no_coroutine_behind() -> None:
    running = asyncio.create_task(run_together(one=asyncio.sleep(60)))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_a_loop_that_fails_in_the_same_way_again_says_so_once() -> None:
    assert level_for(Boom("a"), None) == logging.WARNING
    assert level_for(Boom("a"), Boom("a")) == logging.DEBUG
    assert level_for(Boom("b"), Boom("a")) == logging.WARNING


async def test_a_signal_wakes_all_who_wait_and_none_who_comes_later() -> None:
    signal = Signal()
    waiting = [asyncio.create_task(signal.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    signal.fire()
    signal.fire()
    await asyncio.gather(*waiting)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(signal.wait(), 0.01)
    assert not signal._waiters


async def test_a_crowd_is_woken_whole_and_the_loop_gets_to_other_things_in_between() -> None:
    crowd, woken, others = Crowd(), 0, list[int]()

    async def wait() -> None:
        nonlocal woken
        await crowd.wait()
        woken += 1

    waiting = [asyncio.create_task(wait()) for _ in range(100)]
    await asyncio.sleep(0)
    waiting[7].cancel()
    crowd.fire()
    late = asyncio.create_task(wait())
    while woken < 99:
        await asyncio.sleep(0)
        others.append(woken)
    assert len(set(others)) > 4
    assert not late.done()
    crowd.fire()
    await late


async def test_a_waiter_that_was_cancelled_is_in_nobodys_way() -> None:
    signal = Signal()
    gone, here = asyncio.create_task(signal.wait()), asyncio.create_task(signal.wait())
    await asyncio.sleep(0)
    gone.cancel()
    signal.fire()
    await here
    with pytest.raises(asyncio.CancelledError):
        await gone


@given(st.floats(0.01, 1.0), st.floats(1.0, 60.0), st.integers(0, 40))
def test_a_pause_is_random_below_a_bound_that_doubles_up_to_the_most(first: float, most: float, failures: int) -> None:
    backoff = Backoff(first, most)
    for number in range(failures + 1):
        assert 0.0 <= backoff.next() <= min(most, first * 2**number)
    backoff.reset()
    assert backoff.next() <= first


def test_pauses_use_their_whole_range() -> None:
    pauses = [Backoff(1.0, 60.0).next() for _ in range(200)]
    assert min(pauses) < 0.2 < 0.8 < max(pauses)


async def test_a_cancellation_is_not_lost_to_a_failure_at_the_same_time() -> None:
    async def fail_when_cancelled() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError("the connection broke")

    async def never_give_up() -> None:
        while True:
            with contextlib.suppress(OSError):
                await run_together(fails=fail_when_cancelled())

    task = asyncio.create_task(never_give_up(), name="never gives up")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=1)
    task.cancel()
    assert done
    assert task.cancelled()


class TestEndingWithin:
    async def test_a_task_that_ends_has_ended(self) -> None:
        task = asyncio.create_task(asyncio.sleep(60), name="sleeper")
        assert await end_within(5, task)
        assert task.cancelled()

    async def test_one_that_goes_on_is_waited_for_no_longer_than_that(self) -> None:
        free = asyncio.Event()
        task = asyncio.create_task(ignore_until(free), name="stubborn")
        await asyncio.sleep(0)
        assert not await end_within(0.05, task)
        free.set()
        await task

    async def test_an_error_comes_out(self) -> None:
        task = asyncio.create_task(boom(), name="boom")
        with contextlib.suppress(Boom):
            await asyncio.shield(task)
        with pytest.raises(Boom):
            await end_within(5, task)

    async def test_a_caller_that_is_cancelled_waits_all_the_same(self) -> None:
        ended = asyncio.Event()

        async def slow() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.05)
                ended.set()

        task = asyncio.create_task(slow(), name="slow")
        await asyncio.sleep(0)
        caller = asyncio.create_task(end_within(5, task), name="caller")
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert ended.is_set()


async def ignore_until(free: asyncio.Event) -> None:
    while not free.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await free.wait()


async def test_a_body_ends_with_what_it_needs() -> None:
    with pytest.raises(Boom, match="gone"):
        async with needing(boom("gone", after=0.01), name="needed"):
            await asyncio.sleep(60)


async def test_what_a_body_needed_ends_with_it() -> None:
    async with needing(asyncio.sleep(60), name="needed"):
        (needed,) = (task for task in asyncio.all_tasks() if task.get_name() == "needed")
    assert needed.cancelled()


async def test_what_runs_once_is_not_entered_again() -> None:
    class Life(RunsOnce):
        _once = "it has lived"

        def _live(self) -> contextlib.AbstractAsyncContextManager[None]:
            return contextlib.nullcontext()

    async with Life() as life:
        pass
    with pytest.raises(UsageError, match="it has lived"):
        async with life:
            pass
