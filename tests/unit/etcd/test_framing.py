"""Messages of a stream, however the network cuts it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clusterd.etcd.errors import Unavailable
from clusterd.etcd.framing import LineBuffer

LINES = st.lists(st.binary(max_size=6).map(lambda line: line.replace(b"\n", b"")), max_size=8)
STREAMS = st.builds(lambda lines, rest: b"\n".join([*lines, rest]), LINES, st.binary(max_size=6))


def fed(buffer: LineBuffer, stream: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[start:end] for start, end in pairwise(points)]
    return [line for chunk in chunks for line in buffer.feed(chunk)]


@given(STREAMS, st.lists(st.integers(0, 60)))
@example(b"a\n\nb\nc", [])
def test_messages_come_out_whole_wherever_the_stream_was_cut(stream: bytes, cuts: list[int]) -> None:
    assert fed(LineBuffer(), stream, cuts) == [line for line in stream.split(b"\n")[:-1] if line]


@given(STREAMS)
def test_messages_come_out_whole_from_single_bytes(stream: bytes) -> None:
    assert fed(LineBuffer(), stream, list(range(len(stream)))) == fed(LineBuffer(), stream, [])


def test_an_unfinished_message_waits_for_its_end() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b'{"result":') == []
    assert buffer.feed(b"") == []
    assert buffer.feed(b"{}}\n\n{") == [b'{"result":{}}']
    assert buffer.feed(b"}\n") == [b"{}"]


def refused(stream: bytes, cuts: list[int], limit: int) -> bool:
    try:
        fed(LineBuffer(limit), stream, cuts)
    except Unavailable:
        return True
    return False


@given(STREAMS, st.lists(st.integers(0, 60)), st.integers(0, 6))
@example(b"ok\ntoo long\nok\n", [], 4)
@example(b"too long", [3], 4)
def test_an_overlong_message_is_refused_wherever_the_stream_was_cut(stream: bytes, cuts: list[int], limit: int) -> None:
    assert refused(stream, cuts, limit) == any(len(line) > limit for line in stream.split(b"\n"))


def test_endless_bytes_without_a_newline_are_nobodys_messages() -> None:
    buffer = LineBuffer(limit=1000)
    with pytest.raises(Unavailable, match="longer than 1000 bytes: is this an etcd endpoint") as caught:
        for _ in range(100):
            buffer.feed(b"x" * 100)
    assert caught.value.exit_code == 3


def test_a_message_of_many_megabytes_comes_through() -> None:
    buffer = LineBuffer()
    chunks = [b"x" * 65_536] * 64
    assert [line for chunk in chunks for line in buffer.feed(chunk)] == []
    assert [len(line) for line in buffer.feed(b"\n")] == [64 * 65_536]
