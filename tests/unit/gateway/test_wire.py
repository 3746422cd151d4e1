"""Frames as RFC 6455 has them."""

from __future__ import annotations

import pytest

from examples.gateway.wire import close_frame, pong_frame, text_frame


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_the_length_is_written_as_short_as_it_can_be(size: int, header: bytes) -> None:
    assert text_frame(b"x" * size) == header + b"x" * size


def test_a_reason_that_is_too_long_is_cut_between_characters() -> None:
    frame = close_frame(1012, "ü" * 100)
    assert frame[:4] == b"\x88\x7c\x03\xf4"
    assert frame[4:].decode() == "ü" * 61


def test_a_pong_has_what_the_ping_had() -> None:
    assert pong_frame(b"") == b"\x8a\x00"
    assert pong_frame(b"?" * 125) == b"\x8a\x7d" + b"?" * 125
