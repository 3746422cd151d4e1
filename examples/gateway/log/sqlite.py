"""The log of one node in an SQLite file: write-ahead log, one thread, one transaction for all that waits.

What a transaction does for many messages it does in few statements: around each one Python gives its lock away, and
while the event loop is busy it comes back late.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from examples.gateway.errors import LogUnavailable
from examples.gateway.log.base import NO_ACKS, Exported, Head, Limits, LogEntry, Outcome, Slice
from examples.gateway.protocol import Cursor, is_mailbox

T = TypeVar("T")
Fsync = Literal["always", "never"]

_SYNCHRONOUS: Final = {"always": "FULL", "never": "NORMAL"}
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS streams (
    stream TEXT PRIMARY KEY, epoch TEXT NOT NULL, last INTEGER NOT NULL, acked INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    stream TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, sender TEXT NOT NULL, at INTEGER NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (stream, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ids (
    stream TEXT NOT NULL, id TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (stream, id)) WITHOUT ROWID;
"""
_PART_ENTRIES: Final = 50
_PART_IDS: Final = 5_000
_MOST_ROWS: Final = 64
_MOST_STATES: Final = 100_000
_MOST_TRIMMED: Final = 1_024
_FIND_STREAMS: Final = "SELECT stream, epoch, last, acked FROM streams WHERE stream IN ({})"
_ADD_IDS: Final = "INSERT OR IGNORE INTO ids VALUES {}"
_ADD_MESSAGES: Final = "INSERT OR FAIL INTO messages VALUES {}"
_SET_STREAMS: Final = """
INSERT OR FAIL INTO streams VALUES {} ON CONFLICT (stream) DO UPDATE SET last = excluded.last, acked = excluded.acked
"""
_TRIM: Final = """
WITH done (stream, upto) AS (VALUES {}) DELETE FROM messages WHERE (stream, seq) IN (
    SELECT messages.stream, seq FROM done CROSS JOIN messages ON messages.stream = done.stream AND seq <= upto)
"""
_TRIM_ACKED: Final = """
DELETE FROM messages WHERE (stream, seq) IN (
    SELECT messages.stream, seq FROM streams CROSS JOIN messages ON messages.stream = streams.stream AND seq <= acked)
"""
_FORGIVE: Final = """
UPDATE streams SET acked = MAX(acked, COALESCE(
    (SELECT MIN(seq) - 1 FROM messages WHERE messages.stream = streams.stream), last))
"""
"""What nobody can read any more counts as acked: else a mailbox full of it would stay full."""


@dataclass(slots=True)
class _State:
    """What the table `streams` has of a stream, or will have when the transaction ends."""

    epoch: str
    last: int
    acked: int


class SqliteLog:
    """A `MessageLog` in one file, which survives the process; with `fsync` "always" also the machine.

    The state of streams is kept in memory as well, until another process writes to the file. Messages that are acked
    are removed about a second later, many at a time; what says that they are acked is stored at once.

    Raises `LogUnavailable` where the file can't be opened.
    """

    shared = False

    def __init__(self, path: Path, *, fsync: Fsync = "always", limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="message log")
        self._states: dict[str, _State] = {}
        self._changed: set[str] = set()
        self._trims: dict[str, int] = {}
        self._version = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={_SYNCHRONOUS[fsync]}")
            self._db.execute("PRAGMA temp_store=MEMORY")
            self._db.execute("PRAGMA cache_size=-16384")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise LogUnavailable(f"the message log {path} can't be opened: {error}") from error

    async def append(self, entries: Sequence[LogEntry], acks: Mapping[str, Cursor] = NO_ACKS) -> list[Outcome]:
        """See `MessageLog`."""
        return await self._in_transaction(lambda: self._ack_and_append(acks, entries))

    async def heads(self, streams: Sequence[str]) -> list[Head]:
        """See `MessageLog`."""
        return await self._in_transaction(lambda: self._heads(streams))

    async def read(self, stream: str, after: Cursor, upto: int) -> Slice:
        """See `MessageLog`."""
        return await self._in_transaction(lambda: self._read(stream, after, upto))

    async def streams(self) -> list[str]:
        """See `MessageLog`."""
        return await self._in_transaction(self._streams)

    async def export(self, stream: str) -> Exported:
        """See `MessageLog`."""
        return await self._in_transaction(lambda: self._export(stream))

    async def adopt(self, stream: str, entries: Sequence[LogEntry], ids: Sequence[tuple[str, int]]) -> None:
        """See `MessageLog`."""
        await self._in_transaction(lambda: self._adopt(stream, entries, ids))

    async def forget(self, stream: str, exported: Exported) -> bool:
        """See `MessageLog`."""
        return await self._in_transaction(lambda: self._forget(stream, exported))

    async def expire(self, before: int, ids_before: int) -> int:
        """See `MessageLog`."""
        return await self._in_transaction(lambda: self._expire(before, ids_before))

    async def close(self) -> None:
        """See `MessageLog`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown()

    async def _in_transaction(self, work: Callable[[], T]) -> T:
        """Run the work in the log's thread, in one transaction. One that is cancelled here happens nonetheless."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)
        except (sqlite3.Error, RuntimeError) as error:
            raise LogUnavailable(f"the message log failed: {error}") from error

    def _transact(self, work: Callable[[], T]) -> T:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._trust_memory()
            done = work()
            self._set_streams()
            self._trim()
            self._db.execute("COMMIT")
        except BaseException:
            self._forget_states()
            self._db.execute("ROLLBACK")
            raise
        return done

    def _trust_memory(self) -> None:
        """Forget what is kept in memory of the file, if another process has written to it, or it is too much."""
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        if version != self._version or len(self._states) > _MOST_STATES:
            self._version = version
            self._forget_states()

    def _forget_states(self) -> None:
        self._states.clear()
        self._changed.clear()
        self._trims.clear()

    def _set_streams(self) -> None:
        rows: list[object] = []
        for stream in self._changed:
            state = self._states[stream]
            rows += (stream, state.epoch, state.last, state.acked)
        self._changed.clear()
        self._many(_SET_STREAMS, 4, rows)

    def _trim(self) -> None:
        """Remove messages that are acked, or of rooms too many; of some streams only, to be done soon."""
        some = [self._trims.popitem() for _ in range(min(len(self._trims), _MOST_TRIMMED))]
        self._many(_TRIM, 2, [value for pair in some for value in pair])

    def _many(self, statement: str, width: int, values: Sequence[Any]) -> int:
        """Run a statement with `VALUES {}` for rows of so many values each; returns how many rows it changed."""
        done = changed = 0
        while done < len(values):
            rows = min((len(values) - done) // width, _MOST_ROWS)
            rows = 1 << rows.bit_length() - 1  # few different statements, so that they stay prepared
            text = _statement(statement, width, rows)
            changed += self._db.execute(text, values[done : done + rows * width]).rowcount
            done += rows * width
        return changed

    def _state(self, stream: str) -> _State:
        """Return the state of a stream; one that isn't there begins."""
        self._begin([stream])
        return self._states[stream]

    def _begin(self, streams: Iterable[str]) -> None:
        """Have the states of streams in memory; those that aren't there begin."""
        for stream in self._find(streams):
            self._states[stream] = _State(secrets.token_hex(4), 0, 0)
            self._changed.add(stream)

    def _find(self, streams: Iterable[str]) -> Iterable[str]:
        """Have the states of streams in memory; return those that aren't there."""
        unknown = [stream for stream in dict.fromkeys(streams) if stream not in self._states]
        for start in range(0, len(unknown), _MOST_ROWS):
            some = unknown[start : start + _MOST_ROWS]
            rows = 1 << (len(some) - 1).bit_length()  # see `_many`
            some += some[:1] * (rows - len(some))
            for stream, *state in self._db.execute(_statement(_FIND_STREAMS, 1, rows), some):
                self._states[stream] = _State(*state)
        return [stream for stream in unknown if stream not in self._states]

    def _heads(self, streams: Sequence[str]) -> list[Head]:
        self._begin(streams)
        return [Head(state.epoch, state.last) for state in map(self._states.__getitem__, streams)]

    def _ack_and_append(self, acks: Mapping[str, Cursor], entries: Sequence[LogEntry]) -> list[Outcome]:
        self._find(acks)
        for stream, at in acks.items():
            state = self._states.get(stream)
            if state is not None and state.epoch == at.epoch and state.acked < at.seq:
                state.acked = self._trims[stream] = min(at.seq, state.last)
                self._changed.add(stream)
        return self._append(entries)

    def _append(self, entries: Sequence[LogEntry]) -> list[Outcome]:
        self._begin(entry.stream for entry in entries)
        outcomes = self._append_new(entries) or [self._store(entry) for entry in entries]
        for stream in {entry.stream for entry in entries}:
            self._changed.add(stream)
            if not is_mailbox(stream):
                self._trims[stream] = self._floor(stream)
        return outcomes

    def _append_new(self, entries: Sequence[LogEntry]) -> list[Outcome] | None:
        """Store entries in few statements; None, and nothing is done, if one is known or a mailbox is full."""
        outcomes: list[Outcome] = []
        ids: list[object] = []
        messages: list[object] = []
        lasts: dict[str, int] = {}
        for stream, id_, sender, at, body, _ in entries:
            state = self._states[stream]
            last = lasts.get(stream, state.last)
            if self._is_full(stream, last, state.acked):
                return None
            lasts[stream] = seq = last + 1
            ids += (stream, id_, seq, at)
            messages += (stream, seq, id_, sender, at, body)
            outcomes.append(Outcome(state.epoch, seq, True))
        if not self._all_new(ids):
            return None
        self._many(_ADD_MESSAGES, 6, messages)
        for stream, last in lasts.items():
            self._states[stream].last = last
        return outcomes

    def _all_new(self, ids: Sequence[object]) -> bool:
        """Note ids (rows of stream, id, number, time), if all of them are new."""
        self._db.execute("SAVEPOINT ids")
        done = self._many(_ADD_IDS, 4, ids) == len(ids) // 4
        if not done:
            self._db.execute("ROLLBACK TO ids")
        self._db.execute("RELEASE ids")
        return done

    def _is_full(self, stream: str, last: int, acked: int) -> bool:
        return last - acked >= self.limits.mailbox and is_mailbox(stream)

    def _store(self, entry: LogEntry, *, limited: bool = True) -> Outcome:
        stream, id_, sender, at, body, _ = entry
        state = self._state(stream)
        seq = state.last + 1
        if self._many(_ADD_IDS, 4, (stream, id_, seq, at)) == 0:
            known = self._db.execute("SELECT seq FROM ids WHERE stream = ? AND id = ?", (stream, id_)).fetchone()
            return Outcome(state.epoch, known[0], fresh=False)
        if limited and self._is_full(stream, state.last, state.acked):
            self._db.execute("DELETE FROM ids WHERE stream = ? AND id = ?", (stream, id_))
            return Outcome(state.epoch, 0, fresh=False)
        self._many(_ADD_MESSAGES, 6, (stream, seq, id_, sender, at, body))
        state.last = seq
        return Outcome(state.epoch, seq, fresh=True)

    def _floor(self, stream: str) -> int:
        """Return the number up to which nothing of a stream is wanted any more, whether it still is there or not."""
        state = self._state(stream)
        return state.acked if is_mailbox(stream) else max(state.acked, state.last - self.limits.room)

    def _read(self, stream: str, after: Cursor, upto: int) -> Slice:
        state = self._state(stream)
        start = max(after.seq if after.epoch == state.epoch else 0, self._floor(stream))
        rows = self._db.execute(
            "SELECT stream, id, sender, at, body, seq FROM messages"
            " WHERE stream = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            (stream, start, upto or state.last, self.limits.page),
        ).fetchall()
        entries = [LogEntry(*row) for row in rows]
        whole = len(entries) < self.limits.page
        end = max(start, min(upto or state.last, state.last)) if whole else entries[-1].seq
        return Slice(entries, Cursor(state.epoch, end))

    def _streams(self) -> list[str]:
        return [stream for (stream,) in self._db.execute("SELECT stream FROM streams")]

    def _export(self, stream: str) -> Exported:
        floor = self._floor(stream)
        self._db.execute("DELETE FROM messages WHERE stream = ? AND seq <= ?", (stream, floor))
        rows = self._db.execute(
            "SELECT stream, id, sender, at, body, seq FROM messages WHERE stream = ? ORDER BY seq LIMIT ?",
            (stream, _PART_ENTRIES),
        )
        entries = [LogEntry(*row) for row in rows]
        if entries:
            return Exported(entries, [])
        # Ids go last: one that came before its message would have that taken for a repetition.
        ids = self._db.execute("SELECT id, at FROM ids WHERE stream = ? LIMIT ?", (stream, _PART_IDS))
        return Exported([], ids.fetchall())

    def _adopt(self, stream: str, entries: Sequence[LogEntry], ids: Sequence[tuple[str, int]]) -> None:
        state = self._state(stream)
        for entry in entries:
            self._store(entry, limited=False)  # these were accepted once
        self._changed.add(stream)
        self._many(_ADD_IDS, 4, [value for id_, at in ids for value in (stream, id_, max(state.last, 1), at)])

    def _forget(self, stream: str, exported: Exported) -> bool:
        entries, ids = exported
        if entries:
            self._db.execute("DELETE FROM messages WHERE stream = ? AND seq <= ?", (stream, entries[-1].seq))
        known = [entry.id for entry in entries] + [id_ for id_, _ in ids]
        self._db.executemany("DELETE FROM ids WHERE stream = ? AND id = ?", [(stream, id_) for id_ in known])
        gone = self._db.execute(
            "DELETE FROM streams WHERE stream = ?"
            " AND NOT EXISTS (SELECT 1 FROM messages WHERE messages.stream = streams.stream)"
            " AND NOT EXISTS (SELECT 1 FROM ids WHERE ids.stream = streams.stream)",
            (stream,),
        )
        if gone.rowcount:
            self._states.pop(stream, None)
            self._trims.pop(stream, None)
        return gone.rowcount > 0

    def _expire(self, before: int, ids_before: int) -> int:
        self._db.execute(_TRIM_ACKED)
        gone = self._db.execute("DELETE FROM messages WHERE at < ?", (before,)).rowcount
        self._db.execute("DELETE FROM ids WHERE at < ?", (ids_before,))
        if gone:
            self._db.execute(_FORGIVE)
            self._forget_states()
        return gone


@cache
def _statement(statement: str, width: int, rows: int) -> str:
    row = f"({', '.join('?' * width)})"
    return statement.format(", ".join([row] * rows))
