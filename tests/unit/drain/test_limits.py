"""Counts and shares of nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.drain.limits import Limit
from clusterd.errors import UsageError


@pytest.mark.parametrize(("text", "limit"), [("1", Limit(1)), ("25%", Limit(25, percent=True)), (" 7 ", Limit(7))])
def test_counts_and_shares_are_read_and_shown(text: str, limit: Limit) -> None:
    assert Limit.parse(text, "max_unavailable") == limit
    assert str(limit) == text.strip()


@pytest.mark.parametrize("text", ["", "0", "0%", "-1", "1.5", "101%", "%", "all", "٣", "1" * 9])
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match="min_active"):
        Limit.parse(text, "min_active")


@pytest.mark.parametrize(
    ("text", "total", "most", "least"), [("2", 10, 2, 2), ("25%", 10, 2, 3), ("25%", 3, 1, 1), ("100%", 4, 4, 4)]
)
def test_a_share_never_allows_more_nor_demands_less_than_it_says(text: str, total: int, most: int, least: int) -> None:
    limit = Limit.parse(text, "x")
    assert (limit.at_most(total), limit.at_least(total)) == (most, least)


@given(st.integers(1, 100), st.integers(0, 1000))
def test_a_drain_under_a_share_can_always_go_on(percent: int, total: int) -> None:
    assert Limit(percent, percent=True).at_most(total) >= 1
