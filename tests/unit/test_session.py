"""The session: whether the fleet still counts this node in, by the monotonic clock and nothing else."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from clusterd.session import Session, SessionState

CONNECTED, SUSPENDED, LOST = SessionState.CONNECTED, SessionState.SUSPENDED, SessionState.LOST


def renewed(session: Session, seconds: float) -> Session:
    session.renewed(time.monotonic() + seconds)
    return session


async def test_a_node_that_never_registered_has_no_session() -> None:
    session = Session()
    assert session.state is LOST
    assert session.remaining == 0.0
    assert str(session) == "lost"


async def test_a_registration_connects_for_as_long_as_its_lease_certainly_lives() -> None:
    session = renewed(Session(), 10.0)
    assert session.state is CONNECTED
    assert 9.0 < session.remaining <= 10.0
    session.close()


async def test_trouble_with_renewing_suspends_and_a_renewal_connects_again() -> None:
    session = renewed(Session(), 10.0)
    session.troubled()
    session.troubled()
    assert session.state is SUSPENDED
    renewed(session, 10.0)
    assert session.state is CONNECTED
    session.close()


async def test_trouble_before_the_first_registration_suspends_nothing() -> None:
    session = Session()
    session.troubled()
    assert session.state is LOST


@pytest.mark.parametrize("troubled", [False, True])
async def test_past_the_deadline_the_session_is_lost_and_who_waits_is_told(*, troubled: bool) -> None:
    session = renewed(Session(), 0.05)
    if troubled:
        session.troubled()
    start = time.monotonic()
    assert await session.wait_for(LOST) is LOST
    assert 0.04 < time.monotonic() - start < 2.0
    assert session.remaining == 0.0


async def test_the_session_is_lost_at_its_deadline_though_the_process_was_paused() -> None:
    session = renewed(Session(), 0.02)
    time.sleep(0.03)  # noqa: ASYNC251 - no timer can run, as in a stopped process
    assert session.state is LOST
    session.troubled()
    assert session.state is LOST
    session.close()


async def test_renewals_in_time_keep_it_connected() -> None:
    session = renewed(Session(), 0.3)
    for _ in range(4):
        await asyncio.sleep(0.1)
        assert session.state is CONNECTED
        renewed(session, 0.3)
    session.close()


async def test_a_lease_that_is_gone_loses_the_session_at_once() -> None:
    session = renewed(Session(), 10.0)
    waiting = asyncio.create_task(session.wait_for(LOST, SUSPENDED))
    await asyncio.sleep(0)
    session.lost()
    assert await waiting is LOST
    renewed(session, 10.0)
    assert await session.wait_for(CONNECTED) is CONNECTED
    session.close()


async def test_an_earlier_lease_s_deadline_does_not_end_a_later_one() -> None:
    session = renewed(Session(), 0.03)
    session.lost()
    renewed(session, 10.0)
    await asyncio.sleep(0.06)
    assert session.state is CONNECTED
    session.close()


async def test_waiting_for_the_state_that_is_there_returns_at_once() -> None:
    assert await Session().wait_for(LOST, CONNECTED) is LOST


async def test_a_session_closed_on_purpose_is_lost_without_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "clusterd")
    session = renewed(Session(), 0.2)
    waiting = asyncio.create_task(session.wait_for(LOST))
    await asyncio.sleep(0)
    session.close()
    session.close()
    assert await waiting is LOST
    await asyncio.sleep(0.25)
    assert [record.levelname for record in caplog.records] == ["INFO"]


async def test_each_turn_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "clusterd")
    session = renewed(renewed(Session(), 10.0), 10.0)
    session.troubled()
    session.troubled()
    session.lost()
    session.lost()
    session.close()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "session: connected"),
        ("WARNING", "session: suspended"),
        ("WARNING", "session: lost"),
    ]
