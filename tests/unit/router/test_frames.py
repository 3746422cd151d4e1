"""The router knows where a frame ends, whatever the chunks."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from examples.router.frames import FrameTracker, close_frame

SIZES = st.one_of(st.integers(0, 200), st.sampled_from([125, 126, 65_535, 65_536, 70_000]))


def frame(size: int, opcode: int, *, masked: bool) -> bytes:
    mark = 0x80 if masked else 0
    if size < 126:
        length = bytes((mark | size,))
    elif size < 1 << 16:
        length = bytes((mark | 126,)) + size.to_bytes(2)
    else:
        length = bytes((mark | 127,)) + size.to_bytes(8)
    return bytes((opcode,)) + length + (b"mask" if masked else b"") + os.urandom(size)


@given(
    st.lists(st.tuples(SIZES, st.sampled_from([0x81, 0x82, 0x02, 0x80, 0x89, 0x8A]), st.booleans()), max_size=6),
    st.lists(st.integers(1, 70_000), max_size=20),
    st.integers(0, 20),
)
def test_it_is_between_frames_exactly_at_their_ends(
    frames: list[tuple[int, int, bool]], cuts: list[int], tail: int
) -> None:
    data = b"".join(frame(size, opcode, masked=masked) for size, opcode, masked in frames)
    ends = {0}
    for size, opcode, masked in frames:
        ends.add(max(ends) + len(frame(size, opcode, masked=masked)))
    tracker, at = FrameTracker(), 0
    for cut in [*cuts, *([1] * tail), len(data)]:
        tracker.feed(data[at : at + cut])
        at = min(at + cut, len(data))
        assert tracker.between == (at in ends)
        assert not tracker.missing or at + tracker.missing == min(end for end in ends if end > at)
        assert not tracker.closed


def test_it_notices_a_close() -> None:
    tracker = FrameTracker()
    tracker.feed(frame(10, 0x82, masked=False) + close_frame(1012, "drained"))
    assert tracker.closed
    assert tracker.between
    assert close_frame(1012, "why") == b"\x88\x05\x03\xf4why"
