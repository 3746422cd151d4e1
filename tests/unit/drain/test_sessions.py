"""Counting sessions, in each way that suits a gateway."""

from __future__ import annotations

import logging

import pytest

from clusterd.drain.sessions import Sessions
from clusterd.errors import UsageError


def test_nobody_has_counted_is_not_none_left() -> None:
    assert Sessions().count is None


def test_sessions_are_counted_in_and_out() -> None:
    sessions = Sessions()
    sessions.enter()
    with sessions:
        assert sessions.count == 2
    sessions.leave()
    assert sessions.count == 0
    with pytest.raises(UsageError, match="had not entered"):
        sessions.leave()


def test_a_session_that_fails_is_counted_out_too() -> None:
    sessions = Sessions()
    with pytest.raises(OSError, match="reset"), sessions:
        raise OSError("reset")
    assert sessions.count == 0


def test_a_gateway_that_counts_by_itself_is_asked() -> None:
    sessions, clients = Sessions(), ["a", "b"]
    sessions.count_with(lambda: len(clients))
    assert sessions.count == 2
    clients.clear()
    assert sessions.count == 0


def test_a_count_that_fails_is_no_count_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    sessions = Sessions()
    sessions.count_with(lambda: int("many"))
    with caplog.at_level(logging.ERROR):
        assert (sessions.count, sessions.count) == (None, None)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("count", [-1, 1.5, "3"])
def test_what_is_no_count_is_refused(count: object) -> None:
    with pytest.raises(UsageError, match="can't be a count"):
        Sessions().set(count)  # type: ignore[arg-type]


def test_what_was_counted_can_be_taken_back() -> None:
    sessions = Sessions()
    for count in (lambda: sessions.set(3), lambda: sessions.count_with(lambda: 3)):
        count()
        sessions.forget()
        assert sessions.count is None
