"""One stream on one node: which of its clients are in step with it, and who is catching up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from examples.gateway.links import Line
from examples.gateway.peering import Advance, Follow, Following, Page, Push, Read, Session
from examples.gateway.protocol import Cursor, is_mailbox
from examples.gateway.wire import text_frame

CHUNK: Final = 500
"""Clients that are written to before the event loop gets its turn: some milliseconds' worth."""
MOST_RECENT: Final = 128
"""Frames that are kept for clients who catch up: what came while they read what they lack."""
_BEGINNING: Final = Cursor()


class Client(Protocol):
    """What a feed knows of a client's connection."""

    session: Session
    paused: bool
    closing: bool

    def write(self, frames: bytes) -> None:
        """Send WebSocket frames."""

    def write_soon(self, frames: bytes) -> None:
        """Send WebSocket frames at the end of this tick, together with what else is for this client."""

    def placed(self, stream: str, head: Cursor) -> None:
        """Be told that the stream is followed, up to here at the moment."""

    def evict(self) -> None:
        """Be told that the user has a newer session elsewhere."""

    def given(self, stream: str, upto: Cursor) -> None:
        """Be told that all of the stream up to here was sent."""


@dataclass(slots=True)
class Job:
    """Frames to be written to clients, of whom the first `done` have them."""

    frames: bytes
    clients: Sequence[Client]
    done: int = 0


class Feed:
    """Passes one stream on. `head` is the place up to which it is known here; None before its keeper has answered.

    A client is in one of four groups: `waiting` for the keeper's answer; `in_step`, with all up to `head` sent;
    `behind`, with what it lacks being read; `parked` because it reads too slowly, until it has read what it was sent.
    """

    __slots__ = (
        "_everyone",
        "_jobs",
        "_later",
        "_mailbox",
        "_pending",
        "_recent",
        "behind",
        "came",
        "head",
        "in_step",
        "left",
        "line",
        "parked",
        "stream",
        "waiting",
    )

    def __init__(self, stream: str, later: Callable[[Feed], None]) -> None:
        self.stream = stream
        self.head: Cursor | None = None
        self.line: Line | None = None
        self.in_step: dict[Client, None] = {}
        self.waiting: dict[Client, Cursor | None] = {}
        self.behind: dict[Cursor, list[Client]] = {}
        self.parked: dict[Client, Cursor] = {}
        self.came: dict[str, Session] = {}
        self.left: dict[str, Session] = {}
        self._mailbox = is_mailbox(stream)
        self._pending: list[bytes] = []
        self._recent: list[bytes] = []
        self._jobs: list[Job] = []
        self._everyone: list[Client] | None = None
        self._later = later

    @property
    def clients(self) -> Iterable[Client]:
        """All that are in the stream."""
        yield from self.in_step
        yield from self.waiting
        yield from self.parked
        for group in self.behind.values():
            yield from group

    def attach(self, client: Client, after: Cursor | None) -> None:
        """Add a client that has seen all up to `after`; None: that wants what comes from now on."""
        if self.head is None:
            self.waiting[client] = after
        else:
            self._place(client, after)

    def detach(self, client: Client) -> None:
        """Take a client out."""
        self._step_out(client)
        self.waiting.pop(client, None)
        self.parked.pop(client, None)
        for group in self.behind.values():
            if client in group:
                group.remove(client)

    def follow(self, line: Line, revision: int, cluster_id: int) -> None:
        """Ask a keeper to tell what comes in the stream."""
        self.line = line
        self.came.clear()
        self.left.clear()
        sessions = [client.session for client in self.clients]
        line.send(Follow(self.stream, sessions, revision, cluster_id))

    def following(self, answer: Following) -> None:
        """Take the keeper's answer: what changed while nobody was followed is read."""
        if self.head is not None and self.head != answer.head:
            self._fall_behind(answer.head)
        self.head = answer.head
        for place in self.behind:
            self._read(place)
        waiting, self.waiting = self.waiting, {}
        for client, after in waiting.items():
            self._place(client, after)

    def push(self, message: Push) -> None:
        """Take the next message."""
        at, head = message.at, self.head
        if head is None or (at.epoch == head.epoch and at.seq <= head.seq):
            return
        if at.epoch == head.epoch and at.seq == head.seq + 1:
            self.head = at
            frame = text_frame(message.text)
            if self.behind:
                self._recent.append(frame)
                del self._recent[:-MOST_RECENT]
            self._tell(frame)
        else:
            self.advance(Advance(self.stream, at))

    def advance(self, message: Advance) -> None:
        """Take note of messages that didn't come by push."""
        head = self.head
        if head is None or (message.head.epoch == head.epoch and message.head.seq <= head.seq):
            return
        self._fall_behind(message.head)
        if head in self.behind:
            self._read(head)

    def page(self, page: Page) -> None:
        """Pass on what was read to those who asked for it."""
        group = self.behind.pop(page.asked, None)
        if group is None or self.head is None:
            return
        newer, upto = self._since(page.upto)
        self._write(group, b"".join([*map(text_frame, page.texts), *newer]))
        for client in group:
            client.given(self.stream, upto)
        arrived = upto.epoch == self.head.epoch and upto.seq >= self.head.seq
        for client in group:
            if client.paused:
                self.parked[client] = upto
            else:
                # A log that has less than its keeper said (it lost something) is taken as it is.
                self._place(client, self.head if arrived or page.upto == page.asked else upto, quietly=True)
        if not self.behind:
            self._recent.clear()

    def announce(self, text: bytes) -> None:
        """Pass on what isn't part of the stream to those who are in step."""
        self._tell(text_frame(text))

    def park(self, client: Client) -> None:
        """Send a client no more until it has read what it was sent."""
        if client in self.in_step and self.head is not None:
            self._gather()
            self._step_out(client)
            self.parked[client] = self.head

    def unpark(self, client: Client) -> None:
        """Go on with a client that has read what it was sent."""
        place = self.parked.pop(client, None)
        if place is not None and self.head is None:
            self.waiting[client] = place
        elif place is not None:
            self._place(client, place, quietly=True)

    def flush(self) -> bool:
        """Write what came in this tick, as one write for each client; returns whether some is left for the next one."""
        self._gather()
        left = CHUNK
        while self._jobs and left:
            left -= self._work(self._jobs[0], left)
        return bool(self._jobs)

    def _tell(self, frame: bytes) -> None:
        """Send a frame to who is in step: in a room with all others of this tick, as one write for each."""
        if not self._mailbox:
            self._pending.append(frame)
            self._later(self)
            return
        assert self.head is not None  # noqa: S101 - nobody is in step before
        for client in self.in_step:
            client.given(self.stream, self.head)
            client.write_soon(frame)

    def _since(self, place: Cursor) -> tuple[Sequence[bytes], Cursor]:
        """Return what came after a place, and up to where: nothing, if not all of it is known here."""
        assert self.head is not None  # noqa: S101 - callers know the head
        missing = self.head.seq - place.seq
        if place.epoch != self.head.epoch or not 0 < missing <= len(self._recent):
            return (), place
        return self._recent[-missing:], self.head

    def _gather(self) -> None:
        """Have what came in this tick written to those who are in step now, whatever becomes of them meanwhile."""
        if self._pending:
            frames, self._pending = b"".join(self._pending), []
            if self._everyone is None:
                self._everyone = list(self.in_step)
            self._write(self._everyone, frames)

    def _write(self, clients: Sequence[Client], frames: bytes) -> None:
        if not frames:
            return
        if self._mailbox:
            for client in clients:
                client.write_soon(frames)
        else:
            self._jobs.append(Job(frames, clients))
            self._later(self)

    def _work(self, job: Job, most: int) -> int:
        """Write for some clients, in the order of the jobs: a client gets no later frame before an earlier."""
        some = job.clients[job.done : job.done + most]
        job.done += len(some)
        if job.done == len(job.clients):
            del self._jobs[0]
        frames = job.frames
        for client in some:
            client.write(frames)
        return len(some)

    def _step_in(self, client: Client) -> None:
        self.in_step[client] = None
        self._everyone = None

    def _step_out(self, client: Client) -> None:
        if client in self.in_step:
            del self.in_step[client]
            self._everyone = None

    def _place(self, client: Client, after: Cursor | None, *, quietly: bool = False) -> None:
        """Put a client where its place in the stream puts it."""
        head = self.head
        assert head is not None  # noqa: S101 - callers know the head
        self._gather()
        if not quietly:
            client.placed(self.stream, head)
        if after == head or (after is None and (not self._mailbox or not head.seq)):
            self._step_in(client)
            return
        place = after or _BEGINNING
        self.behind.setdefault(place, []).append(client)
        if len(self.behind[place]) == 1:
            self._read(place)

    def _fall_behind(self, head: Cursor) -> None:
        """Have everyone who is in step read what lies between."""
        self._gather()
        assert self.head is not None  # noqa: S101 - nobody is in step before
        if self.in_step:
            self.behind.setdefault(self.head, []).extend(self.in_step)
            self.in_step = {}
            self._everyone = None
        self._recent.clear()
        self.head = head

    def _read(self, place: Cursor) -> None:
        if self.line is not None and self.head is not None:
            self.line.send(Read(self.stream, place, self.head.seq))
