"""The clients that are connected to this node, and the streams that it follows for them: the edge."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Final

from examples.gateway.courier import Courier
from examples.gateway.feed import Client, Feed
from examples.gateway.fleet import Fleet
from examples.gateway.links import Line
from examples.gateway.peering import (
    Acks,
    Advance,
    Attendance,
    Evict,
    Following,
    Members,
    Moved,
    Page,
    Presences,
    Push,
    Refused,
    Spoken,
    Stored,
    Unfollow,
    WhoIs,
)
from examples.gateway.protocol import Cursor
from examples.gateway.ticks import Tick

_AGAIN: Final = 0.1
_WHO_SECONDS: Final = 3.0

Answer = Callable[[list[str], int], None]


class Hub:
    """Follows each stream that a client here is in, at its keeper, wherever that is just now.

    What should be is compared with what is whenever the topology or a line changes: a stream whose keeper is another
    one is followed there, from the place up to which it is known here.
    """

    def __init__(self, fleet: Fleet, courier: Courier, *, coalesce: float = 0.0) -> None:
        self.feeds: dict[str, Feed] = {}
        self._fleet = fleet
        self._courier = courier
        self._unfollowed: set[str] = set()
        self._dirty: dict[Feed, None] = {}
        self._attendance: dict[Feed, None] = {}
        self._acks: dict[Line, dict[str, Cursor]] = {}
        self._questions: dict[int, tuple[float, Answer]] = {}
        self._tokens = itertools.count(1)
        self._write_tick = Tick(self._write, coalesce)
        self._ask_tick = Tick(self._ask)
        self._again_tick = Tick(self._follow_unfollowed, _AGAIN)
        fleet.on_line_down.append(self._line_down)
        fleet.on_change.append(self._compare)

    def attach(self, client: Client, stream: str, after: Cursor | None) -> None:
        """Let a client follow a stream, from a place on, or (None) from now on."""
        feed = self.feeds.get(stream)
        if feed is None:
            feed = self.feeds[stream] = Feed(stream, self._flush_later)
            self._unfollowed.add(stream)
        feed.attach(client, after)
        self._attends(feed, client, came=True)

    def detach(self, client: Client, stream: str) -> None:
        """Let a client follow a stream no longer."""
        feed = self.feeds.get(stream)
        if feed is None:
            return
        feed.detach(client)
        self._attends(feed, client, came=False)
        if next(iter(feed.clients), None) is None:
            del self.feeds[stream]
            self._unfollowed.discard(stream)
            self._attendance.pop(feed, None)
            if feed.line is not None:
                feed.line.send(Unfollow(stream))

    def ack(self, stream: str, cursor: Cursor) -> None:
        """Tell the keeper that a mailbox is done with up to there.

        An ack that is lost is made good by the next one, or by where the client resumes.
        """
        feed = self.feeds.get(stream)
        line = (feed and feed.line) or self._fleet.line_to_keeper(stream)
        if line is not None:
            self._acks.setdefault(line, {})[stream] = cursor
            self._ask_tick.ask()

    def who(self, stream: str, answer: Answer) -> None:
        """Ask who is in a stream; without an answer in some seconds it is nobody."""
        line = self._fleet.line_to_keeper(stream)
        if line is None:
            answer([], 0)
            return
        token = next(self._tokens)
        self._questions[token] = (time.monotonic() + _WHO_SECONDS, answer)
        topology = self._fleet.topology
        line.send(WhoIs(token, stream, topology.revision, topology.cluster_id))

    def park(self, client: Client, streams: Iterable[str]) -> None:
        """Send a client no more until `unpark`."""
        for feed in filter(None, map(self.feeds.get, streams)):
            feed.park(client)

    def unpark(self, client: Client, streams: Iterable[str]) -> None:
        """Go on with a client where it was parked."""
        for feed in filter(None, map(self.feeds.get, streams)):
            feed.unpark(client)

    def look(self, now: float) -> None:
        """Give up questions that nobody answered; to be called every second or so."""
        late = [token for token, (deadline, _) in self._questions.items() if deadline < now]
        for token in late:
            self._questions.pop(token)[1]([], 0)

    def close(self) -> None:
        """Stop writing and asking."""
        for tick in (self._write_tick, self._ask_tick, self._again_tick):
            tick.cancel()

    def hear(self, line: Line, message: Spoken) -> None:
        """Take what a keeper says on a line of ours."""
        if type(message) is Push:  # most are
            feed = self.feeds.get(message.stream)
            if feed is not None and feed.line is line:
                feed.push(message)
            return
        match message:
            case Page() | Following() | Advance() | Presences() | Moved() | Evict():
                feed = self.feeds.get(message.stream)
                if feed is not None and feed.line is line:  # else it is what a keeper that was still says
                    self._hear_of(feed, message)
            case Stored():
                self._courier.stored(message)
            case Refused():
                self._courier.refused(message)
            case Attendance():
                if question := self._questions.pop(message.token, None):
                    question[1](message.users, message.count)

    def _hear_of(self, feed: Feed, message: Page | Following | Advance | Presences | Moved | Evict) -> None:
        match message:
            case Page():
                feed.page(message)
            case Following():
                feed.following(message)
            case Advance():
                feed.advance(message)
            case Presences():
                feed.announce(message.text)
            case Moved():
                self._lost(feed)
            case Evict():
                self._evict(feed, message.session)

    def _evict(self, feed: Feed, session: str) -> None:
        for client in [client for client in feed.clients if client.session.id == session]:
            client.evict()

    def _attends(self, feed: Feed, client: Client, *, came: bool) -> None:
        """Have the keeper told who came or left: all at once when the stream is followed, by and by after that."""
        session = client.session
        if came and feed.left.pop(session.id, None) is None:
            feed.came[session.id] = session
        elif not came and feed.came.pop(session.id, None) is None:
            feed.left[session.id] = session
        self._attendance[feed] = None
        self._ask_tick.ask()

    def _ask(self) -> None:
        """Tell keepers what gathered in this tick."""
        if self._unfollowed:
            self._follow_unfollowed()
        self._tell_attendance()
        acks, self._acks = self._acks, {}
        for line, cursors in acks.items():
            line.send(Acks(cursors))

    def _tell_attendance(self) -> None:
        for feed in self._attendance:
            if feed.line is not None and (feed.came or feed.left):
                feed.line.send(Members(feed.stream, list(feed.came.values()), list(feed.left.values())))
                feed.came.clear()
                feed.left.clear()
        self._attendance.clear()

    def _follow_unfollowed(self) -> None:
        unfollowed, self._unfollowed = list(self._unfollowed), set()
        topology = self._fleet.topology
        for stream, line in zip(unfollowed, self._fleet.lines_to_keepers(unfollowed), strict=True):
            if line is None:
                self._unfollowed.add(stream)
            else:
                self.feeds[stream].follow(line, topology.revision, topology.cluster_id)
        if self._unfollowed:
            self._again_tick.ask()

    def _lost(self, feed: Feed) -> None:
        feed.line = None
        self._unfollowed.add(feed.stream)
        self._again_tick.ask()

    def _line_down(self, line: Line) -> None:
        for feed in self.feeds.values():
            if feed.line is line:
                self._lost(feed)

    def _compare(self) -> None:
        """Follow each stream where it is kept now."""
        streams = list(self.feeds)
        for stream, line in zip(streams, self._fleet.lines_to_keepers(streams), strict=True):
            feed = self.feeds[stream]
            if feed.line is not None and feed.line is not line and line is not None:
                feed.line.send(Unfollow(stream))
                feed.line = None
                self._unfollowed.add(stream)
        if self._unfollowed:
            self._ask_tick.ask()

    def _flush_later(self, feed: Feed) -> None:
        self._dirty[feed] = None
        self._write_tick.ask()

    def _write(self) -> None:
        dirty, self._dirty = self._dirty, {}
        for feed in dirty:
            if feed.flush():
                self._flush_later(feed)
