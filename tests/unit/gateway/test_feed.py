"""Whatever comes in whatever order: a client gets each number once, in order, and in the end all."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from examples.gateway.feed import CHUNK, Feed
from examples.gateway.peering import Advance, Follow, Following, Page, Push, Read, Session
from examples.gateway.protocol import Cursor
from examples.gateway.wire import text_frame
from tests.unit.gateway.lines import RecordedLine

ROOM = "room:lobby"
MAILBOX = "user:ann"


class Listener:
    def __init__(self, name: str = "ann") -> None:
        self.session = Session(name, name, 0)
        self.paused = False
        self.closing = False
        self.got: list[str] = []

    def write(self, frames: bytes) -> None:
        while frames:  # every frame is short here
            size = frames[1]
            self.got.append(frames[2 : 2 + size].decode())
            frames = frames[2 + size :]

    def write_soon(self, frames: bytes) -> None:
        self.write(frames)

    def placed(self, stream: str, head: Cursor) -> None: ...

    def given(self, stream: str, upto: Cursor) -> None: ...

    def evict(self) -> None: ...


class World:
    """A stream with its keeper's log, and one feed of it."""

    def __init__(self, stream: str = ROOM) -> None:
        self.stream = stream
        self.line = RecordedLine("gw-2")
        self.epoch = "e1"
        self.log: list[str] = []
        self.feed = Feed(stream, lambda _: None)
        self._answered = 0
        self.feed.follow(self.line, 1, 0)
        self.answer_all()

    @property
    def head(self) -> Cursor:
        return Cursor(self.epoch, len(self.log))

    def append(self, *, told: bool = True) -> None:
        self.log.append(f"{self.epoch}-{len(self.log) + 1}")
        if told:
            self.feed.push(Push(self.stream, self.head, self.log[-1].encode()))

    def answer(self) -> bool:
        """Answer the next question; returns whether there was one."""
        if self._answered == len(self.line.said):
            return False
        question = self.line.said[self._answered]
        self._answered += 1
        if isinstance(question, Follow):
            self.feed.following(Following(self.stream, self.head))
        elif isinstance(question, Read):
            start = question.after.seq if question.after.epoch == self.epoch else 0
            end = min(start + 2, question.upto, len(self.log))
            texts = [text.encode() for text in self.log[start:end]]
            self.feed.page(Page(self.stream, question.after, texts, Cursor(self.epoch, max(start, end))))
        return True

    def answer_all(self) -> None:
        while self.answer():
            pass

    def settle(self) -> None:
        self.feed.advance(Advance(self.stream, self.head))
        while self.answer() or self.feed.flush():
            pass

    def lose_keeper(self) -> None:
        """The stream goes on at another keeper, with what was stored meanwhile."""
        self.line = RecordedLine("gw-3")
        self._answered = 0
        self.log.append(f"{self.epoch}-{len(self.log) + 1}")
        self.feed.follow(self.line, 2, 0)


@given(
    st.sampled_from([ROOM, MAILBOX]),
    st.lists(st.sampled_from(["told", "untold", "answer", "flush", "park", "unpark", "keeper"]), max_size=40),
)
@settings(deadline=None)
def test_each_number_once_in_order_and_all_in_the_end(stream: str, steps: list[str]) -> None:
    world, ann = World(stream), Listener()
    world.feed.attach(ann, None)
    acts: dict[str, Any] = {
        "told": world.append,
        "untold": lambda: world.append(told=False),
        "answer": world.answer,
        "flush": world.feed.flush,
        "keeper": world.lose_keeper,
    }
    for step in steps:
        if step == "park":
            ann.paused = True
            world.feed.park(ann)
        elif step == "unpark":
            ann.paused = False
            world.feed.unpark(ann)
        else:
            acts[step]()
    ann.paused = False
    world.feed.unpark(ann)
    world.settle()
    assert ann.got == world.log


def test_who_resumes_gets_what_was_missed_before_what_is_new() -> None:
    world, ann = World(), Listener()
    for _ in range(5):
        world.append()
    world.feed.attach(ann, Cursor("e1", 2))
    world.append()
    world.settle()
    assert ann.got == world.log[2:]


def test_what_comes_while_a_client_catches_up_needs_no_further_read() -> None:
    world, ann = World(), Listener()
    for _ in range(2):
        world.append()
    world.feed.attach(ann, Cursor("e1", 0))
    for _ in range(3):
        world.append()
    world.answer_all()
    world.append()
    while world.feed.flush():
        pass
    assert ann.got == world.log
    assert len([said for said in world.line.said if isinstance(said, Read)]) == 1


def test_a_new_epoch_is_read_from_its_beginning() -> None:
    world, ann = World(), Listener()
    world.feed.attach(ann, None)
    world.append()
    world.feed.flush()
    world.epoch, world.log = "e2", ["e2-1", "e2-2"]
    world.feed.follow(world.line, 2, 0)
    world.settle()
    assert ann.got == ["e1-1", "e2-1", "e2-2"]


def test_what_comes_in_one_tick_is_one_write_for_each() -> None:
    world, ann = World(), Listener()
    writes: list[bytes] = []
    ann.write = writes.append  # type: ignore[method-assign]
    world.feed.attach(ann, None)
    for _ in range(3):
        world.append()
    assert writes == []
    world.feed.flush()
    assert writes == [b"".join(text_frame(text.encode()) for text in world.log)]


def test_a_large_room_is_written_to_in_parts_and_in_order() -> None:
    world = World()
    people = [Listener(str(number)) for number in range(CHUNK + 10)]
    for person in people:
        world.feed.attach(person, None)
    world.append()
    assert world.feed.flush()
    assert sum(bool(person.got) for person in people) == CHUNK
    world.append()
    late = Listener("late")
    world.feed.attach(late, None)
    while world.feed.flush():
        pass
    assert all(person.got == world.log for person in people)
    assert late.got == []


def test_who_is_parked_while_it_is_written_to_gets_all_in_order() -> None:
    world = World()
    people = [Listener(str(number)) for number in range(3)]
    write = people[1].write

    def overflow(frames: bytes) -> None:
        write(frames)
        people[1].paused = True
        world.feed.park(people[1])

    people[1].write = overflow  # type: ignore[method-assign]
    for person in people:
        world.feed.attach(person, None)
    world.append()
    world.feed.flush()
    world.append()
    world.feed.flush()
    assert [len(person.got) for person in people] == [2, 1, 2]
    people[1].write, people[1].paused = write, False  # type: ignore[method-assign]
    world.feed.unpark(people[1])
    world.settle()
    assert all(person.got == world.log for person in people)


def test_who_leaves_in_the_middle_gets_nothing_more() -> None:
    world, ann = World(), Listener()
    world.feed.attach(ann, Cursor("e1", 0))
    world.append()
    world.feed.detach(ann)
    world.settle()
    assert ann.got == []
    assert list(world.feed.clients) == []
