"""The log of one node in an SQLite file: write-ahead log, one thread, one transaction for all that waits."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal, TypeVar

from examples.gateway.errors import LogUnavailable
from examples.gateway.log.base import Exported, Head, Limits, LogEntry, Outcome, Slice
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
_FORGIVE: Final = """
UPDATE streams SET acked = MAX(acked, COALESCE(
    (SELECT MIN(seq) - 1 FROM messages WHERE messages.stream = streams.stream), last))
"""
"""What nobody can read any more counts as acked: else a mailbox full of it would stay full."""


class SqliteLog:
    """A `MessageLog` in one file, which survives the process; with `fsync` "always" also the machine.

    Raises `LogUnavailable` where the file can't be opened.
    """

    shared = False

    def __init__(self, path: Path, *, fsync: Fsync = "always", limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="message log")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute(f"PRAGMA synchronous={_SYNCHRONOUS[fsync]}")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise LogUnavailable(f"the message log {path} can't be opened: {error}") from error

    async def append(self, entries: Sequence[LogEntry]) -> list[Outcome]:
        """See `MessageLog`."""
        return await self._in_transaction(lambda: self._append(entries))

    async def head(self, stream: str) -> Head:
        """See `MessageLog`."""
        return await self._in_transaction(lambda: self._head(stream))

    async def read(self, stream: str, after: Cursor, upto: int) -> Slice:
        """See `MessageLog`."""
        return await self._in_transaction(lambda: self._read(stream, after, upto))

    async def ack(self, cursors: Mapping[str, Cursor]) -> None:
        """See `MessageLog`."""
        await self._in_transaction(lambda: self._ack(cursors))

    async def streams(self) -> list[str]:
        """See `MessageLog`."""
        rows = await self._in_transaction(lambda: self._rows("SELECT stream FROM streams"))
        return [str(stream) for (stream,) in rows]

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
            done = work()
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        return done

    def _rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        return self._db.execute(statement, values).fetchall()

    def _state(self, stream: str) -> tuple[str, int, int]:
        """Return epoch, last number and last acked number; a stream that isn't there begins."""
        row = self._db.execute("SELECT epoch, last, acked FROM streams WHERE stream = ?", (stream,)).fetchone()
        if row is None:
            row = (secrets.token_hex(4), 0, 0)
            self._db.execute("INSERT INTO streams VALUES (?, ?, ?, ?)", (stream, *row))
        epoch, last, acked = row
        return epoch, last, acked

    def _head(self, stream: str) -> Head:
        epoch, last, _ = self._state(stream)
        return Head(epoch, last)

    def _append(self, entries: Sequence[LogEntry]) -> list[Outcome]:
        states: dict[str, tuple[str, int, int]] = {}
        outcomes = []
        for entry in entries:
            epoch, last, acked = states.get(entry.stream) or self._state(entry.stream)
            outcome = self._store(entry, epoch, last, acked)
            outcomes.append(outcome)
            states[entry.stream] = (epoch, max(last, outcome.seq) if outcome.fresh else last, acked)
        for stream, (_, last, _) in states.items():
            self._db.execute("UPDATE streams SET last = ? WHERE stream = ?", (last, stream))
            self._trim_room(stream, last)
        return outcomes

    def _store(self, entry: LogEntry, epoch: str, last: int, acked: int) -> Outcome:
        stream, id_, sender, at, body, _ = entry
        seq = last + 1
        if self._db.execute("INSERT OR IGNORE INTO ids VALUES (?, ?, ?, ?)", (stream, id_, seq, at)).rowcount == 0:
            known = self._db.execute("SELECT seq FROM ids WHERE stream = ? AND id = ?", (stream, id_)).fetchone()
            return Outcome(epoch, known[0], fresh=False)
        if is_mailbox(stream) and last - acked >= self.limits.mailbox:
            self._db.execute("DELETE FROM ids WHERE stream = ? AND id = ?", (stream, id_))
            return Outcome(epoch, 0, fresh=False)
        self._db.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?)", (stream, seq, id_, sender, at, body))
        return Outcome(epoch, seq, fresh=True)

    def _trim_room(self, stream: str, last: int) -> None:
        if not is_mailbox(stream) and last > self.limits.room:
            self._db.execute("DELETE FROM messages WHERE stream = ? AND seq <= ?", (stream, last - self.limits.room))

    def _read(self, stream: str, after: Cursor, upto: int) -> Slice:
        epoch, last, acked = self._state(stream)
        start = max(after.seq if after.epoch == epoch else 0, acked)
        rows = self._db.execute(
            "SELECT stream, id, sender, at, body, seq FROM messages"
            " WHERE stream = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            (stream, start, upto or last, self.limits.page),
        ).fetchall()
        entries = [LogEntry(*row) for row in rows]
        end = entries[-1].seq if len(entries) == self.limits.page else max(start, min(upto or last, last))
        return Slice(entries, Cursor(epoch, end))

    def _ack(self, cursors: Mapping[str, Cursor]) -> None:
        for stream, (epoch, seq) in ((stream, (at.epoch, at.seq)) for stream, at in cursors.items()):
            moved = self._db.execute(
                "UPDATE streams SET acked = MIN(?, last) WHERE stream = ? AND epoch = ? AND acked < ?",
                (seq, stream, epoch, seq),
            )
            if moved.rowcount:
                self._db.execute("DELETE FROM messages WHERE stream = ? AND seq <= ?", (stream, seq))

    def _export(self, stream: str) -> Exported:
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
        epoch, last, _ = self._state(stream)
        for entry in entries:
            # Whatever the limit says: these were accepted once.
            last += self._store(entry, epoch, last, acked=last).fresh
        self._db.execute("UPDATE streams SET last = ? WHERE stream = ?", (last, stream))
        self._db.executemany(
            "INSERT OR IGNORE INTO ids VALUES (?, ?, ?, ?)",
            [(stream, id_, max(last, 1), at) for id_, at in ids],
        )

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
        return gone.rowcount > 0

    def _expire(self, before: int, ids_before: int) -> int:
        gone = self._db.execute("DELETE FROM messages WHERE at < ?", (before,)).rowcount
        self._db.execute("DELETE FROM ids WHERE at < ?", (ids_before,))
        if gone:
            self._db.execute(_FORGIVE)
        return gone


def now_ms() -> int:
    """Return the wall clock in milliseconds, as messages carry it."""
    return time.time_ns() // 1_000_000
