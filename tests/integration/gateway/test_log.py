"""What every message log does, whatever it is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.gateway.errors import LogUnavailable
from examples.gateway.log import LogEntry, MessageLog
from examples.gateway.log.redis import RedisLog
from examples.gateway.log.sqlite import SqliteLog
from examples.gateway.protocol import Cursor

ANN = "user:ann"
LOBBY = "room:lobby"


def entry(id_: str, stream: str = ANN, at: int = 1_000) -> LogEntry:
    return LogEntry(stream, id_, "bob", at, b'{"text":"hi"}')


async def head_of(log: MessageLog) -> Cursor:
    return (await log.heads([ANN]))[0]


async def ids_of(log: MessageLog, stream: str, after: Cursor | None = None) -> list[str]:
    found: list[str] = []
    place = after or Cursor()
    while True:
        page = await log.read(stream, place, 0)
        if not page.entries:
            return found
        found += [each.id for each in page.entries]
        place = page.upto


async def test_each_stream_is_numbered_for_itself(messages: MessageLog) -> None:
    outcomes = await messages.append([entry("a"), entry("b", LOBBY), entry("c")])
    assert [(each.seq, bool(each.fresh)) for each in outcomes] == [(1, True), (1, True), (2, True)]
    assert outcomes[0].epoch == outcomes[2].epoch != outcomes[1].epoch
    assert await head_of(messages) == Cursor(outcomes[0].epoch, 2)


async def test_an_id_is_stored_once_also_within_one_batch(messages: MessageLog) -> None:
    await messages.append([entry("a"), entry("b"), entry("b")])
    again = await messages.append([entry("a"), entry("c")])
    assert [(each.seq, bool(each.fresh)) for each in again] == [(1, False), (3, True)]
    assert await ids_of(messages, ANN) == ["a", "b", "c"]


async def test_what_is_stored_comes_back_as_it_was(messages: MessageLog) -> None:
    await messages.append([entry("a")])
    page = await messages.read(ANN, Cursor(), 0)
    assert page.entries[0] == entry("a")._replace(seq=1)


async def test_pages_end_where_they_say(messages: MessageLog) -> None:
    await messages.append([entry(str(number)) for number in range(9)])
    head = await head_of(messages)
    first = await messages.read(ANN, Cursor(), 0)
    assert (len(first.entries), first.upto.seq) == (4, 4)
    rest = await messages.read(ANN, Cursor(head.epoch, 7), 8)
    assert ([each.id for each in rest.entries], rest.upto.seq) == (["7"], 8)
    assert (await messages.read(ANN, head, 0)).upto == head


async def test_a_place_in_another_epoch_reads_from_the_beginning(messages: MessageLog) -> None:
    await messages.append([entry("a"), entry("b")])
    assert await ids_of(messages, ANN, Cursor("other", 1)) == ["a", "b"]


async def test_what_is_acked_is_gone_and_stays_known(messages: MessageLog) -> None:
    await messages.append([entry("a"), entry("b"), entry("c")])
    head = await head_of(messages)
    await messages.append([], {ANN: Cursor(head.epoch, 2), "user:nobody": Cursor("x", 5)})
    await messages.append([], {ANN: Cursor(head.epoch, 1)})
    await messages.append([], {ANN: Cursor("other", 3)})
    assert await ids_of(messages, ANN) == ["c"]
    assert not (await messages.append([entry("a")]))[0].fresh


async def test_an_ack_beyond_the_end_is_one_of_the_end(messages: MessageLog) -> None:
    await messages.append([entry("a")])
    await messages.append([], {ANN: Cursor((await head_of(messages)).epoch, 99)})
    assert (await messages.append([entry("b")]))[0].seq == 2
    assert await ids_of(messages, ANN) == ["b"]


async def test_a_full_mailbox_takes_no_more_until_it_is_read(messages: MessageLog) -> None:
    outcomes = await messages.append([entry(str(number)) for number in range(11)])
    assert [each.seq for each in outcomes[-2:]] == [10, 0]
    await messages.append([], {ANN: await head_of(messages)})
    assert (await messages.append([entry("10")]))[0].seq == 11


async def test_what_is_acked_with_a_batch_makes_room_for_it(messages: MessageLog) -> None:
    await messages.append([entry(str(number)) for number in range(10)])
    acks = {ANN: await head_of(messages)}
    assert (await messages.append([entry("10")], acks))[0].seq == 11
    assert await ids_of(messages, ANN) == ["10"]


async def test_a_known_id_among_many_keeps_its_place_and_the_others_theirs(messages: MessageLog) -> None:
    await messages.append([entry("7", LOBBY)])
    outcomes = await messages.append([entry(str(number), LOBBY) for number in range(60)])
    assert [each.seq for each in outcomes] == [*range(2, 9), 1, *range(9, 61)]
    assert [bool(each.fresh) for each in outcomes].count(False) == 1
    assert await ids_of(messages, LOBBY) == ["7", *(str(number) for number in range(60) if number != 7)]


async def test_the_heads_of_many_streams_come_in_their_order(messages: MessageLog) -> None:
    await messages.append([entry(str(number)) for number in range(3)])
    assert [head.seq for head in await messages.heads([LOBBY, ANN, LOBBY])] == [0, 3, 0]


async def test_a_room_keeps_its_newest(messages: MessageLog) -> None:
    for start in range(0, 1_000, 50):
        await messages.append([entry(str(start + number), LOBBY) for number in range(50)])
    kept = await ids_of(messages, LOBBY)
    assert kept[-1] == "999"
    assert 70 <= len(kept) < 500


async def test_what_is_too_old_is_removed_and_frees_the_mailbox(messages: MessageLog) -> None:
    await messages.append([entry(str(number), at=number) for number in range(10)])
    assert await messages.expire(10, 0) == 10
    assert await ids_of(messages, ANN) == []
    assert (await messages.append([entry("new", at=20)]))[0].seq == 11
    assert await messages.expire(10, 0) == 0
    assert await ids_of(messages, ANN) == ["new"]


async def test_a_handed_over_stream_goes_on_elsewhere(tmp_path: Path) -> None:
    old, new = SqliteLog(tmp_path / "old.db", fsync="never"), SqliteLog(tmp_path / "new.db", fsync="never")
    await old.append([entry("a"), entry("b"), entry("c")])
    await old.append([], {ANN: Cursor((await head_of(old)).epoch, 1)})
    exported = await old.export(ANN)
    await old.append([entry("late")])
    for _ in range(2):  # the answer to the first was lost
        await new.adopt(ANN, exported.entries, exported.ids)
    assert not await old.forget(ANN, exported)
    assert await ids_of(new, ANN) == ["b", "c"]
    assert await ids_of(old, ANN) == ["late"]
    while await old.streams():
        exported = await old.export(ANN)
        await new.adopt(ANN, exported.entries, exported.ids)
        await old.forget(ANN, exported)
    assert await ids_of(new, ANN) == ["b", "c", "late"]
    assert not (await new.append([entry("a")]))[0].fresh
    await old.close()
    await new.close()


async def test_a_stream_that_comes_back_begins_anew(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db", fsync="never")
    await log.append([entry("a"), entry("b")])
    await log.append([], {ANN: await head_of(log)})
    while await log.streams():
        await log.forget(ANN, await log.export(ANN))
    await log.append([entry("a")])
    await log.append([entry("b")])
    assert await ids_of(log, ANN) == ["a", "b"]
    assert (await head_of(log)).seq == 2
    await log.close()


async def test_two_processes_that_write_to_one_file_give_each_number_once(tmp_path: Path) -> None:
    one, other = SqliteLog(tmp_path / "log.db", fsync="never"), SqliteLog(tmp_path / "log.db", fsync="never")
    numbers = [(await log.append([entry(f"{log is one}-{turn}")]))[0].seq for turn in range(3) for log in (one, other)]
    assert numbers == [1, 2, 3, 4, 5, 6]
    await other.append([], {ANN: await head_of(other)})
    assert await ids_of(one, ANN) == []
    await one.close()
    await other.close()


async def test_a_long_stream_is_handed_over_in_parts_and_in_order(tmp_path: Path) -> None:
    old, new = SqliteLog(tmp_path / "old.db", fsync="never"), SqliteLog(tmp_path / "new.db", fsync="never")
    await old.append([entry(str(number), LOBBY) for number in range(180)])
    parts = 0
    while await old.streams():
        exported = await old.export(LOBBY)
        await new.adopt(LOBBY, exported.entries, exported.ids)
        await old.forget(LOBBY, exported)
        parts += 1
    assert parts > 1
    assert await ids_of(new, LOBBY) == [str(number) for number in range(180)]
    await old.close()
    await new.close()


async def test_a_log_in_a_file_is_there_again_after_a_restart(tmp_path: Path) -> None:
    first = SqliteLog(tmp_path / "log.db")
    stored = (await first.append([entry("a")]))[0]
    await first.close()
    second = SqliteLog(tmp_path / "log.db")
    assert await head_of(second) == Cursor(stored.epoch, 1)
    assert not (await second.append([entry("a")]))[0].fresh
    await second.close()


def test_a_file_that_cannot_be_opened_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "log.db").mkdir()
    with pytest.raises(LogUnavailable, match=r"log\.db can't be opened"):
        SqliteLog(tmp_path / "log.db")


async def test_a_redis_that_is_away_is_one_error(tmp_path: Path) -> None:
    log = RedisLog(f"unix://{tmp_path}/nobody")
    with pytest.raises(LogUnavailable, match="in Redis failed"):
        await log.append([entry("a")])
    with pytest.raises(LogUnavailable, match="in Redis failed"):
        await head_of(log)
    await log.close()
