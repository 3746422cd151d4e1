"""Changes reach every reader, however slow, in order and without end of memory."""

from __future__ import annotations

import asyncio
import gc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.feed import Changes, Feed
from clusterd.node import Node
from clusterd.topology import EMPTY, Change, Topology

STEPS = st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2)), min_size=1, max_size=20)


def history(*contents: dict[str, int]) -> list[Change]:
    """The changes by which the fleet gets these ids and weights, one after another."""
    shots = [EMPTY]
    for revision, content in enumerate(contents, 1):
        shots.append(Topology.of((Node(id=key, weight=weight) for key, weight in content.items()), revision))
    return [Change.between(before, after) for before, after in pairwise(shots)]


async def drained(changes: Changes) -> list[Change]:
    return [change async for change in changes]


async def test_a_reader_gets_what_changed_in_order_until_the_source_stops() -> None:
    feed, published = Feed(), history({"a": 1}, {"a": 1, "b": 1}, {"b": 1})
    reader = feed.subscribe()
    for change in published:
        feed.publish(change)
    feed.close()
    assert await drained(reader) == published


async def test_a_waiting_reader_is_woken_by_a_change_and_by_the_end() -> None:
    feed, (change,) = Feed(), history({"a": 1})
    reading = asyncio.create_task(drained(feed.subscribe()))
    await asyncio.sleep(0)
    feed.publish(change)
    await asyncio.sleep(0.01)
    assert not reading.done()
    feed.close()
    assert await reading == [change]


async def test_readers_go_at_their_own_pace() -> None:
    feed, published = Feed(), history({"a": 1}, {"b": 1})
    quick, slow = feed.subscribe(), feed.subscribe()
    feed.publish(published[0])
    assert await anext(quick) is published[0]
    feed.publish(published[1])
    assert await anext(quick) is published[1]
    assert [await anext(slow), await anext(slow)] == published


async def test_a_reader_sees_only_what_came_after_it() -> None:
    feed, published = Feed(), history({"a": 1}, {"b": 1})
    feed.publish(published[0])
    late = feed.subscribe()
    feed.publish(published[1])
    feed.close()
    assert await drained(late) == published[1:]


@given(STEPS, st.integers(1, 5))
def test_a_slow_reader_ends_up_with_the_same_fleet(contents: list[dict[str, int]], limit: int) -> None:
    changes, published = Changes(limit), [change for change in history(*contents) if change]
    for change in published:
        changes.push(change)
    changes.close()
    got = asyncio.run(drained(changes))
    assert len(got) <= limit
    assert all(got), "a change that came and went again is nothing to tell"
    mine: dict[str, Node] = {}
    for change in got:
        assert dict(change.before.nodes) == mine
        mine = dict(change.after.nodes)
        assert Change.between(change.before, change.after) == change
    assert mine == (dict(published[-1].after.nodes) if published else {})


async def test_a_reader_that_falls_behind_gets_one_change_for_many() -> None:
    feed = Feed()
    reader = feed.subscribe(limit=2)
    for change in history({"a": 1}, {"a": 1, "b": 1}, {"b": 2, "c": 1}):
        feed.publish(change)
    feed.close()
    (change,) = await drained(reader)
    assert [node.id for node in change.joined] == ["b", "c"]
    assert change.revision == 3


async def test_a_feed_that_has_ended_ends_new_readers_at_once() -> None:
    feed = Feed()
    feed.close()
    assert await drained(feed.subscribe()) == []


async def test_ending_twice_is_the_same_as_ending_once() -> None:
    feed = Feed()
    reader = feed.subscribe()
    feed.close()
    feed.close()
    assert await drained(reader) == []
    with pytest.raises(StopAsyncIteration):
        await anext(reader)


async def test_a_reader_that_was_dropped_costs_nothing() -> None:
    feed = Feed()
    reader = feed.subscribe()
    assert len(feed._readers) == 1
    del reader
    gc.collect()
    assert len(feed._readers) == 0
    feed.publish(history({"a": 1})[0])


async def test_a_reader_that_stops_waiting_loses_no_change() -> None:
    feed, (change,) = Feed(), history({"a": 1})
    reader = feed.subscribe()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(reader), 0.01)
    feed.publish(change)
    assert await anext(reader) is change
