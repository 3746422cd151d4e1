"""Batches of sessions to move: each one once, at the pace, until none is left."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from clusterd.drain import Drain, make_drain


def drain(count: int | None = None, **terms: Any) -> Drain:
    intent = make_drain(by="ann@ops", now=datetime.now(UTC), reason="kernel", **terms)
    return Drain(intent, math.inf, lambda: count)


class Client:
    """A session that can't be hashed."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


def one_by_one(count: int) -> Iterator[int]:
    yield from range(count)


@pytest.mark.parametrize(
    "source", [list(range(250)), dict.fromkeys(range(250)), one_by_one(250), [Client() for _ in range(250)]]
)
async def test_each_session_of_a_fixed_source_comes_once(source: Any) -> None:
    batches = [batch async for batch in drain().batches(source)]
    assert sum(map(len, batches)) == 250
    assert all(batches)


async def test_the_sessions_of_a_live_source_come_until_it_is_empty() -> None:
    sessions, seen = set(range(250)), []
    async for batch in drain().batches(lambda: sessions):
        seen += batch
        sessions.difference_update(batch)
        if len(seen) == 200:
            sessions.update({1000, 1001})
    assert sorted(seen) == [*range(250), 1000, 1001]


async def test_without_a_count_the_source_is_the_count() -> None:
    sessions = {1, 2, 3}
    mine = drain()
    assert mine.sessions() is None
    async for batch in mine.batches(lambda: sessions):
        assert mine.sessions() == 3
        sessions.difference_update(batch)
    assert mine.sessions() == 0


async def test_a_source_that_can_not_be_counted_is_no_count() -> None:
    calls = iter([[], OSError("no"), OSError("no")])

    def source() -> list[int]:
        result = next(calls, [])
        if isinstance(result, OSError):
            raise result
        return list(result)

    mine = drain()
    with pytest.raises(OSError, match="no"):
        assert [batch async for batch in mine.batches(source)] == []
    assert mine.sessions() is None


async def test_forced_all_come_at_once() -> None:
    mine, sessions, sizes = drain(rate=20.0), set(range(500)), []
    async for batch in mine.batches(lambda: sessions):
        sizes.append(len(batch))
        sessions.difference_update(batch)
        if len(sizes) == 3:
            asyncio.get_running_loop().call_later(0.01, mine.force)
    assert sizes[-1] > 490


async def test_cancelled_none_come_any_more() -> None:
    mine, sessions = drain(rate=5.0), set(range(500))
    asyncio.get_running_loop().call_later(0.3, mine.cancel)
    began = time.monotonic()
    moved = sum([len(batch) async for batch in mine.batches(lambda: sessions)])
    assert moved <= 4
    assert time.monotonic() - began < 0.6


async def test_other_terms_change_the_pace_of_a_batch_that_is_waited_for() -> None:
    mine, sessions = drain(rate=0.1), set(range(50))
    faster = make_drain(by="ann@ops", now=datetime.now(UTC), rate=1000.0)
    asyncio.get_running_loop().call_later(0.2, mine.take_terms, faster, math.inf)
    began = time.monotonic()
    async for batch in mine.batches(lambda: sessions):
        sessions.difference_update(batch)
    assert time.monotonic() - began < 2


def test_a_drain_shows_who_asked_for_it() -> None:
    mine = drain()
    assert (mine.by, mine.reason, mine.deadline) == ("ann@ops", "kernel", None)
    assert repr(mine) == "<Drain by ann@ops: cordoned, None left>"
