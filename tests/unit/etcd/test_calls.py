"""Who observes calls to etcd hears how each one ended, and nothing that observers do harms a call."""

from __future__ import annotations

import asyncio
import logging

import pytest

from clusterd.etcd import errors
from clusterd.etcd.calls import OUTCOMES, Call, observed, outcome_of
from clusterd.etcd.errors import EtcdError


async def answer(value: int | BaseException) -> int:
    await asyncio.sleep(0)
    if isinstance(value, BaseException):
        raise value
    return value


async def test_a_call_that_is_answered_is_told_as_ok() -> None:
    calls: list[Call] = []
    assert await observed([calls.append], "/kv/range", answer(7)) == 7
    assert [(call.method, call.outcome) for call in calls] == [("kv/range", "ok")]
    assert calls[0].seconds >= 0


async def test_a_call_that_fails_is_told_and_still_fails() -> None:
    calls: list[Call] = []
    with pytest.raises(errors.LeaseGone):
        await observed([calls.append], "/lease/keepalive", answer(errors.LeaseGone("gone")))
    assert calls[0].outcome == "lease_gone"


async def test_a_call_that_is_cancelled_is_told_and_stays_cancelled() -> None:
    calls: list[Call] = []
    task = asyncio.create_task(observed([calls.append], "/watch", asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert calls[0].outcome == "cancelled"


async def test_an_observer_that_fails_harms_neither_the_call_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Call] = []

    def fail(call: Call) -> None:
        raise RuntimeError("no")

    with caplog.at_level(logging.ERROR):
        assert await observed([fail, calls.append], "/kv/put", answer(1)) == 1
    assert len(calls) == 1
    assert "an observer of calls to etcd failed" in caplog.text


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (errors.Unavailable, "unavailable"),
        (errors.TlsFailed, "unavailable"),
        (errors.LoginRefused, "refused"),
        (errors.NoSpace, "refused"),
        (errors.Compacted, "compacted"),
        (EtcdError, "error"),
        (ValueError, "error"),
    ],
)
def test_an_error_is_told_by_what_its_catcher_does(kind: type[Exception], outcome: str) -> None:
    assert outcome_of(kind("x")) == outcome
    assert outcome in OUTCOMES
