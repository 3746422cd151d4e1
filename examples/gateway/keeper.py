"""The streams that this node owns: stores what comes for them, numbers it, and passes it on to who follows them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from clusterd import Action, RoutedAt, judge
from clusterd.aio import Signal, run_together
from examples.gateway.attendance import Attendances
from examples.gateway.courier import Courier
from examples.gateway.errors import LogUnavailable
from examples.gateway.fleet import Fleet
from examples.gateway.gate import Gate
from examples.gateway.links import Line
from examples.gateway.log import LogEntry, MessageLog, Outcome
from examples.gateway.peering import (
    Acks,
    Advance,
    Attendance,
    Follow,
    Following,
    Members,
    Moved,
    Page,
    Parcel,
    Publish,
    Push,
    Read,
    Refused,
    Spoken,
    Stored,
    Unfollow,
    WhoIs,
)
from examples.gateway.protocol import Cursor, Message, encode

log = logging.getLogger(__name__)

_READERS: Final = 4
_PAGE_BYTES: Final = 256 * 1024
_HOLD_SECONDS: Final = 3.0
_LOG_PAUSE: Final = 0.1
_MEMORY: Final = 60.0
_MOST_PARCELS: Final = 2_000
_MOST_NAMES: Final = 200


class Keeper:
    """Does for edges what only a stream's owner does; judges first whether this node is that.

    What was routed by a topology that this node has yet to see, or by one in which the stream has yet to be handed over
    to it, is held for a moment; what is another node's is passed on, or its follower sent there.
    """

    def __init__(self, fleet: Fleet, messages: MessageLog, courier: Courier, gate: Gate) -> None:
        self._fleet = fleet
        self._log = messages
        self._courier = courier
        self._gate = gate
        self._attendances = Attendances()
        self._parcels: list[tuple[Line, Parcel]] = []
        self._follows: list[tuple[Line, Follow]] = []
        self._acks: dict[str, Cursor] = {}
        self._advanced: set[str] = set()
        self._touched: tuple[set[str], set[str]] = (set(), set())
        self._turned = time.monotonic()
        self._work = Signal()
        self._reads: asyncio.Queue[tuple[Line, Read]] = asyncio.Queue()
        self._held: list[tuple[float, Line, Publish | Follow]] = []
        self.on_behind: Callable[[int], None] = lambda _: None
        """Called with the revision by which something was routed that is held."""
        fleet.on_change.append(self._changed)
        gate.on_open = self.look_again

    async def run(self) -> None:
        """Do what is asked for, for ever."""
        readers = {f"gateway reader {number}": self._read_for_ever() for number in range(_READERS)}
        await run_together(**{"gateway log writer": self._write_for_ever()}, **readers)

    def hear(self, line: Line, message: Spoken) -> None:
        """Take what an edge says."""
        match message:
            case Publish():
                self._publish(line, message)
            case Acks():
                self._acks.update(message.cursors)
                self._work.fire()
            case Read():
                self._reads.put_nowait((line, message))
            case Follow():
                self._follow(line, message)
            case Unfollow():
                self._attendances.unfollow(line, message.stream)
            case Members():
                self._attendances.members(line, message.stream, message.came, message.left)
            case WhoIs():
                users, count = self._attendances.who(message.stream, _MOST_NAMES)
                line.send(Attendance(message.token, users, count))

    def line_down(self, line: Line) -> None:
        """Forget who followed on a line."""
        self._attendances.forget(line)
        self._held = [held for held in self._held if held[1] is not line]

    def moved(self, stream: str) -> None:
        """Tell those who follow a stream that something came by another way than through here."""
        self._advanced.add(stream)
        self._work.fire()

    @property
    def touched(self) -> set[str]:
        """The streams that something was stored in lately."""
        return self._touched[0] | self._touched[1]

    def look(self, now: float) -> None:
        """Answer what was held for too long; to be called every second or so."""
        if now - self._turned > _MEMORY:
            self._touched, self._turned = (set(), self._touched[0]), now
        self._gate.look()
        late = [held for held in self._held if held[0] < now]
        self._held = [held for held in self._held if held[0] >= now]
        for _, line, message in late:
            self._turn_away(line, message)

    def look_again(self) -> None:
        """Judge again what is held."""
        held, self._held = self._held, []
        for _, line, message in held:
            self.hear(line, message)

    def close(self) -> None:
        """Tell nobody any more."""
        self._attendances.close()

    def _changed(self) -> None:
        """Send the followers of what is another node's now to that."""
        topology, us = self._fleet.topology, self._fleet.node
        streams = self._attendances.streams()
        for stream, owner in zip(streams, topology.owners(streams), strict=True):
            if owner is not None and owner.id != us:
                for line in self._attendances.followers(stream):
                    line.send(Moved(stream))
                self._attendances.drop(stream)
        self.look_again()

    def _judge(self, stream: str, routed_at: RoutedAt) -> Action:
        fleet = self._fleet
        if routed_at == RoutedAt.of(fleet.topology) and fleet.keeper(stream) == fleet.node:
            action = Action.SERVE  # as `judge` would say, for what comes in thousands
        else:
            action = judge(fleet.topology, fleet.node, stream, routed_at).action
        if action is Action.SERVE and self._gate.holds(stream):
            return Action.CATCH_UP
        return action

    def _publish(self, line: Line, message: Publish) -> None:
        routed_at = RoutedAt(message.revision, message.cluster_id)
        held: list[Parcel] = []
        for parcel in message.parcels:
            match self._judge(parcel.stream, routed_at):
                case Action.SERVE:
                    self._parcels.append((line, parcel))
                case Action.CATCH_UP:
                    held.append(parcel)
                case Action.FORWARD:
                    self._pass_on(line, parcel)
                case Action.REJECT:
                    line.send(Refused([parcel.token], "no node may own streams now", retry=True))
        if held:
            self._hold(line, msgspec.structs.replace(message, parcels=held))
        self._work.fire()

    def _pass_on(self, line: Line, parcel: Parcel) -> None:
        """Take a parcel to whom it belongs, and its answer back."""

        def done(_: str, seq: int, why: str, retry: bool) -> None:
            line.send(Stored([(parcel.token, seq)]) if seq else Refused([parcel.token], why, retry))

        self._courier.post(parcel.stream, parcel.id, parcel.sender, parcel.at, parcel.body, done)

    def _follow(self, line: Line, message: Follow) -> None:
        match self._judge(message.stream, RoutedAt(message.revision, message.cluster_id)):
            case Action.SERVE:
                self._follows.append((line, message))
                self._work.fire()
            case Action.CATCH_UP:
                self._hold(line, message)
            case _:
                line.send(Moved(message.stream))

    def _hold(self, line: Line, message: Publish | Follow) -> None:
        self.on_behind(message.revision)
        self._held.append((time.monotonic() + _HOLD_SECONDS, line, message))

    def _turn_away(self, line: Line, message: Publish | Follow) -> None:
        if isinstance(message, Follow):
            line.send(Moved(message.stream))
        else:
            tokens = [parcel.token for parcel in message.parcels]
            line.send(Refused(tokens, "its keeper has yet to see the topology it was routed by", retry=True))

    async def _write_for_ever(self) -> None:
        """Do all that gathered while the last of it was done: what waits longest comes in the largest groups."""
        while True:
            while not (self._parcels or self._follows or self._acks or self._advanced):
                await self._work.wait()
            parcels, self._parcels = self._parcels[:_MOST_PARCELS], self._parcels[_MOST_PARCELS:]
            follows, self._follows = self._follows, []
            acks, self._acks = self._acks, {}
            advanced, self._advanced = self._advanced, set()
            if parcels or acks:
                await self._store(parcels, acks)
            if follows:
                await self._let_follow(follows)
            if advanced:
                await self._tell_heads(advanced)

    async def _store(self, parcels: list[tuple[Line, Parcel]], acks: dict[str, Cursor]) -> None:
        entries = [LogEntry(p.stream, p.id, p.sender, p.at, p.body) for _, p in parcels]
        try:
            outcomes = await self._log.append(entries, acks)
        except LogUnavailable as error:
            log.warning(
                "%s", error
            )  # of what is acked the next ack, or the place where the client resumes, says the same
            _answer(parcels, lambda tokens: Refused(tokens, "the message log is away", retry=True))
            return
        self._tell(parcels, entries, outcomes)

    def _tell(self, parcels: list[tuple[Line, Parcel]], entries: list[LogEntry], outcomes: list[Outcome]) -> None:
        """Answer who sent, and pass on what is new: both only now that it is stored."""
        self._touched[0].update(entry.stream for entry in entries)
        numbers: dict[Line, list[tuple[int, int]]] = {}
        for (line, parcel), entry, (epoch, seq, fresh) in zip(parcels, entries, outcomes, strict=True):
            if not seq:
                line.send(Refused([parcel.token], "the mailbox is full", retry=False))
                continue
            numbers.setdefault(line, []).append((parcel.token, seq))
            if followers := self._attendances.followers(parcel.stream):
                at = Cursor(epoch, seq)
                # What was stored before may never have been passed on: an answer of the log can get lost.
                told = Push(parcel.stream, at, _text(entry, at)) if fresh else Advance(parcel.stream, at)
                for follower in followers:
                    follower.send(told)
        for line, stored in numbers.items():
            line.send(Stored(stored))

    async def _let_follow(self, follows: list[tuple[Line, Follow]]) -> None:
        """Register followers at a place that nothing comes between: appends happen before or after this."""
        try:
            heads = await self._log.heads([message.stream for _, message in follows])
        except LogUnavailable as error:
            log.warning("%s", error)
            for line, message in follows:
                line.send(Moved(message.stream))
            return
        for (line, message), head in zip(follows, heads, strict=True):
            self._attendances.follow(line, message.stream, message.sessions)
            line.send(Following(message.stream, head))

    async def _tell_heads(self, advanced: set[str]) -> None:
        streams = [stream for stream in advanced if self._attendances.followers(stream)]
        try:
            heads = await self._log.heads(streams)
        except LogUnavailable as error:
            log.warning("%s", error)
            self._advanced.update(streams)
            await asyncio.sleep(_LOG_PAUSE)
            return
        for stream, head in zip(streams, heads, strict=True):
            for line in self._attendances.followers(stream):
                line.send(Advance(stream, head))

    async def _read_for_ever(self) -> None:
        while True:
            line, message = await self._reads.get()
            try:
                found = await self._log.read(message.stream, message.after, message.upto)
            except LogUnavailable as error:
                log.warning("%s", error)
                line.send(Moved(message.stream))  # it is followed anew, and read again
                continue
            texts, upto = _cut(found.entries, found.upto)
            line.send(Page(message.stream, message.after, texts, upto))


def _answer(parcels: Iterable[tuple[Line, Parcel]], make: Callable[[list[int]], Spoken]) -> None:
    tokens: dict[Line, list[int]] = {}
    for line, parcel in parcels:
        tokens.setdefault(line, []).append(parcel.token)
    for line, theirs in tokens.items():
        line.send(make(theirs))


def _cut(entries: Iterable[LogEntry], upto: Cursor) -> tuple[list[bytes], Cursor]:
    """Return the texts of a page, and where it ends: no page is much larger than `_PAGE_BYTES`."""
    texts: list[bytes] = []
    size = 0
    for entry in entries:
        at = Cursor(upto.epoch, entry.seq)
        texts.append(_text(entry, at))
        size += len(texts[-1])
        if size > _PAGE_BYTES:
            return texts, at
    return texts, upto


def _text(entry: LogEntry, at: Cursor) -> bytes:
    """Return the frame's text that clients get of a message: made once, for however many."""
    body = msgspec.Raw(entry.body)
    return encode(Message(entry.stream, at.epoch, at.seq, entry.id, entry.sender, entry.at, body))
