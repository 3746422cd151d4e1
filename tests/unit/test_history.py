"""Entries of the history: in the order of time, and nothing else taken for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from clusterd.history import HistoryEntry, decode_entry, entry_name

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@given(st.integers(1, 10**9), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_names_rise_with_time(milliseconds: int, salt: int, other: int) -> None:
    assert entry_name(NOW, salt) < entry_name(NOW + timedelta(milliseconds=milliseconds), other)


@given(st.binary(max_size=100))
def test_any_bytes_are_an_entry_or_nothing(value: bytes) -> None:
    assert decode_entry(value) is None


def test_an_entry_is_read_back() -> None:
    value = b'{"at":"2026-01-31T12:00:00Z","what":"drain","node":"gw-1","later":1}'
    assert decode_entry(value) == HistoryEntry(at="2026-01-31T12:00:00Z", what="drain", node="gw-1")
    assert decode_entry(b"[" * 100_000) is None
