"""A message is stored only by who, by the newest topology it has seen, keeps its stream."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clusterd.aio import beside
from clusterd.testing import eventually
from examples.gateway.courier import Courier
from examples.gateway.fleet import Fleet
from examples.gateway.gate import Gate
from examples.gateway.keeper import Keeper
from examples.gateway.log.sqlite import SqliteLog
from examples.gateway.peering import (
    Evict,
    Follow,
    Following,
    Moved,
    Parcel,
    Publish,
    Push,
    Refused,
    Session,
    Stored,
)
from tests.unit.gateway.lines import RecordedLine, fleet_of, kept_by

US, OTHER = "gw-1", "gw-2"


class Bench:
    def __init__(self, log: SqliteLog) -> None:
        self.log = log
        self.fleet = Fleet(US)
        self.fleet.take(fleet_of(US, OTHER, revision=10))
        self.courier = Courier(self.fleet)
        self.gate = Gate(US, shared=False)
        self.keeper = Keeper(self.fleet, log, self.courier, self.gate)
        self.edge = RecordedLine("gw-3")
        self.other = RecordedLine(OTHER)
        self.fleet.lines[OTHER] = self.other
        self.ours = next(kept_by(self.fleet.topology, US))
        self.theirs = next(kept_by(self.fleet.topology, OTHER))

    def publish(self, stream: str, revision: int = 10, token: int = 1) -> None:
        parcel = Parcel(token, stream, f"bob/{token}", "bob", 0, b"1")
        self.keeper.hear(self.edge, Publish([parcel], revision, 0))

    async def stored_here(self) -> list[str]:
        await asyncio.sleep(0)
        return await self.log.streams()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    log = SqliteLog(tmp_path / "log.db", fsync="never")
    bench = Bench(log)
    async with beside(bench.keeper.run(), name="keeper"):
        yield bench
    bench.keeper.close()
    bench.courier.close()
    await log.close()


async def test_what_is_ours_is_stored_and_answered(bench: Bench) -> None:
    bench.publish(bench.ours)
    await eventually(lambda: bench.edge.of(Stored))
    assert bench.edge.of(Stored) == [Stored([(1, 1)])]
    assert await bench.stored_here() == [bench.ours]


async def test_what_is_anothers_is_forwarded_and_its_answer_brought_back(bench: Bench) -> None:
    bench.publish(bench.theirs, revision=9)
    await eventually(lambda: bench.other.of(Publish))
    (forwarded,) = bench.other.of(Publish)
    assert (forwarded.parcels[0].stream, forwarded.revision) == (bench.theirs, 10)
    assert await bench.stored_here() == []
    bench.courier.stored(Stored([(forwarded.parcels[0].token, 7)]))
    assert bench.edge.of(Stored) == [Stored([(1, 7)])]


async def test_what_was_routed_by_a_later_topology_waits_for_it(bench: Bench) -> None:
    bench.publish(bench.theirs, revision=11)
    bench.publish(bench.ours, revision=11, token=2)
    assert await bench.stored_here() == []
    bench.fleet.take(fleet_of(US, revision=11))
    await eventually(lambda: len(bench.edge.of(Stored)) == 1)
    assert sorted(await bench.stored_here()) == sorted([bench.ours, bench.theirs])


async def test_what_was_routed_by_a_revision_without_a_change_is_stored_once_that_is_known(bench: Bench) -> None:
    behind: list[int] = []
    bench.keeper.on_behind = behind.append
    bench.publish(bench.ours, revision=12)
    bench.keeper.hear(bench.edge, Follow(bench.ours, [], 12, 0))
    assert await bench.stored_here() == []
    assert bench.fleet.synced(bench.fleet.topology.synced(13))
    bench.keeper.look_again()
    await eventually(lambda: bench.edge.of(Following) and bench.edge.of(Stored))
    assert behind == [12, 12]
    bench.publish(bench.ours, revision=14, token=2)
    assert behind == [12, 12, 14]


async def test_what_waits_too_long_is_refused_for_a_while(bench: Bench) -> None:
    bench.publish(bench.ours, revision=11)
    bench.keeper.look(math.inf)
    assert [(each.tokens, each.retry) for each in bench.edge.of(Refused)] == [([1], True)]
    assert await bench.stored_here() == []


async def test_who_follows_what_is_anothers_is_sent_there(bench: Bench) -> None:
    bench.keeper.hear(bench.edge, Follow(bench.theirs, [], 10, 0))
    assert bench.edge.said == [Moved(bench.theirs)]


async def test_a_follower_is_told_from_where_on_and_then_each_message(bench: Bench) -> None:
    bench.publish(bench.ours)
    await eventually(lambda: bench.edge.of(Stored))
    bench.keeper.hear(bench.edge, Follow(bench.ours, [], 10, 0))
    await eventually(lambda: bench.edge.of(Following))
    bench.publish(bench.ours, token=2)
    bench.publish(bench.ours, token=2)
    await eventually(lambda: len(bench.edge.of(Stored)) > 1)
    (following,) = bench.edge.of(Following)
    (push,) = bench.edge.of(Push)
    assert (following.head.seq, push.at.seq) == (1, 2)


async def test_followers_are_sent_away_when_the_stream_moves(bench: Bench) -> None:
    bench.keeper.hear(bench.edge, Follow(bench.ours, [], 10, 0))
    await eventually(lambda: bench.edge.of(Following))
    bench.fleet.take(fleet_of(OTHER, revision=11))
    assert bench.edge.of(Moved) == [Moved(bench.ours)]


async def test_the_older_of_two_sessions_is_evicted(bench: Bench) -> None:
    newer, older = Session("b", "ann", 2), Session("a", "ann", 1)
    bench.keeper.hear(bench.other, Follow(bench.ours, [newer], 10, 0))
    bench.keeper.hear(bench.edge, Follow(bench.ours, [older], 10, 0))
    await eventually(lambda: bench.edge.of(Evict))
    assert bench.edge.of(Evict) == [Evict(bench.ours, "a")]
    assert bench.other.of(Evict) == []


async def test_what_another_node_has_yet_to_hand_over_waits(bench: Bench) -> None:
    before = bench.fleet.topology
    after = fleet_of(US, revision=11)
    with_other = after.evolve([before.nodes[OTHER].replace(weight=0)], [], 11, cluster_id=0)
    bench.gate.change(before, with_other)
    bench.fleet.take(with_other)
    bench.publish(bench.theirs, revision=11)
    bench.publish(bench.ours, revision=11, token=2)
    await eventually(lambda: bench.edge.of(Stored))
    assert await bench.stored_here() == [bench.ours]
    bench.gate.cleared(OTHER, 10)  # of an earlier topology
    assert not bench.gate.open
    bench.gate.cleared(OTHER, 11)
    await eventually(lambda: len(bench.edge.of(Stored)) == 2)
