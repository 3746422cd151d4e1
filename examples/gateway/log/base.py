"""What a message log must do, and the values that go in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

from examples.gateway.protocol import Cursor

NO_ACKS: Final[Mapping[str, Cursor]] = MappingProxyType({})
Head = Cursor
"""The last place of a stream."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a log keeps: unacked messages of a mailbox, messages of a room, entries that one read returns."""

    mailbox: int = 1_000
    room: int = 1_000
    page: int = 200

    @property
    def remember(self) -> int:
        """Ids that a client must know to recognise all that it can get twice."""
        return 2 * max(self.mailbox, self.room)


class LogEntry(NamedTuple):
    """A message to be stored, or that is; `at` in milliseconds of the wall clock, `body` a JSON text."""

    stream: str
    id: str
    sender: str
    at: int
    body: bytes
    seq: int = 0


class Outcome(NamedTuple):
    """What became of an entry: its place, and whether it is new; `seq` is 0 where the mailbox is full."""

    epoch: str
    seq: int
    fresh: bool


class Slice(NamedTuple):
    """A part of a stream: its entries, and the place up to which there is nothing else."""

    entries: Sequence[LogEntry]
    upto: Cursor


class Exported(NamedTuple):
    """A part of what a stream has: entries that are still wanted, oldest first; then ids of others, with times."""

    entries: Sequence[LogEntry]
    ids: Sequence[tuple[str, int]]


class MessageLog(Protocol):
    """Stores streams of messages. It gives the numbers: 1, 2, 3... in an epoch, which begins when the stream does.

    What a call has returned survives what the log is said to survive. `shared` logs are the same on every node;
    others are a node's own, and hand streams over by `export`, `adopt`, `forget`. Every call raises `LogUnavailable`.
    """

    shared: bool
    limits: Limits

    async def append(self, entries: Sequence[LogEntry], acks: Mapping[str, Cursor] = NO_ACKS) -> list[Outcome]:
        """Store these, in this order, each id of a stream once: one that is there already keeps its place.

        Before that, forget what mailboxes have up to these places; a cursor of another epoch says nothing.
        """

    async def heads(self, streams: Sequence[str]) -> list[Head]:
        """Return the last places of streams."""

    async def read(self, stream: str, after: Cursor, upto: int) -> Slice:
        """Return a page of what comes after a place, up to a number; of another epoch, all from the beginning."""

    async def streams(self) -> list[str]:
        """Return the streams that have something here; nothing if the log is shared."""

    async def export(self, stream: str) -> Exported:
        """Return the next part of what another node needs to go on with a stream: some MB at the most."""

    async def adopt(self, stream: str, entries: Sequence[LogEntry], ids: Sequence[tuple[str, int]]) -> None:
        """Take over what another node exported; what is known already isn't stored again."""

    async def forget(self, stream: str, exported: Exported) -> bool:
        """Remove what was exported; returns whether nothing is left of the stream."""

    async def expire(self, before: int, ids_before: int) -> int:
        """Remove messages older than `before`, ids older than `ids_before` (ms); return how many messages."""

    async def close(self) -> None:
        """Give everything back."""
