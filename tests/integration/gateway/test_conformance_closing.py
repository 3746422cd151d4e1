"""RFC 6455 against a real node, what `test_conformance` begins: UTF-8, closing, masks, and what is left to us."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.integration.gateway.peer import (
    BINARY,
    CLOSE,
    CLOSED_FOR_PROTOCOL,
    CLOSED_FOR_TEXT,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    WHO,
    Peer,
    frame,
    text,
    to_self,
)

# Group 6: UTF-8 (8.1).

VALID = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\u0080\u07ff\u0800\uffff\U00010000\U0010ffff",  # first and last of each length
    "\ud7ff\ue000\ufffd\ufffe\U0001fffe",  # beside the surrogates; noncharacters are characters
    "日本語 🏳️‍🌈",
]
INVALID = [
    b"\x80",  # a continuation alone
    b"\xbf\xbf",
    b"\xc3",  # and what should be continued
    b"\xe2\x82",
    b"\xf0\x9f\x8f",
    b"\xc0\xaf",  # overlong
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xed\xa0\x80",  # surrogates
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",  # past U+10FFFF
    b"\xf8\x88\x80\x80\x80",  # five and six bytes
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
]


@pytest.mark.parametrize("body", VALID)
def test_text_in_utf_8_comes_back(peer: Peer, body: str) -> None:
    peer.send(frame(TEXT, to_self(peer, body)))
    assert peer.hear("msg")["body"] == body


@pytest.mark.parametrize("body", VALID)
def test_a_character_may_lie_in_two_fragments(peer: Peer, body: str) -> None:
    whole = to_self(peer, body)
    parts = [whole[at : at + 1] for at in range(len(whole))]
    last = len(parts) - 1
    peer.send(b"".join(frame(CONTINUATION if n else TEXT, part, fin=n == last) for n, part in enumerate(parts)))
    assert peer.hear("msg")["body"] == body


@pytest.mark.parametrize("wrong", INVALID)
@pytest.mark.parametrize(
    "around",
    [
        (b'{"t":"send","id":"1","to":"user:nobody","body":"', b'"}'),
        (b'{"t":"send","id":"1","to":"user:nobody","body":{"a":[0,"', b'"]}}'),
        (b'{"t":"send","id":"', b'","to":"user:nobody","body":1}'),
        (b'{"t":"who","of":"', b'"}'),
        (b"", b""),
        (b'{"', b'":1}'),
    ],
)
def test_what_is_not_utf_8_is_refused(peer: Peer, wrong: bytes, around: tuple[bytes, bytes]) -> None:
    peer.send(frame(TEXT, wrong.join(around)))
    assert peer.closed()[0] == CLOSED_FOR_TEXT


def test_what_is_not_utf_8_is_refused_in_fragments_too(peer: Peer) -> None:
    peer.send(frame(TEXT, b'{"t":"who","of":"\xce', fin=False) + frame(CONTINUATION, b'\xf4\x90"}'))
    assert peer.closed()[0] == CLOSED_FOR_TEXT


# Group 7: closing (5.5.1, 7).


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
def test_a_close_is_answered_with_its_code(peer: Peer, code: int) -> None:
    peer.send(frame(CLOSE, code.to_bytes(2) + b"bye"))
    assert peer.closed()[0] == code


def test_a_close_without_a_code_is_answered(peer: Peer) -> None:
    peer.send(frame(CLOSE))
    assert peer.closed()[0] == 1000


@pytest.mark.parametrize("reason", ["", "Hello World!", "x" * 123, "κόσμε"])
def test_a_close_may_have_a_reason(peer: Peer, reason: str) -> None:
    peer.send(frame(CLOSE, (1000).to_bytes(2) + reason.encode()), pieces=1)
    assert peer.closed()[0] == 1000


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
def test_codes_that_must_not_be_sent_are_refused(peer: Peer, code: int) -> None:
    """7.4.1, 7.4.2."""
    peer.send(frame(CLOSE, code.to_bytes(2)))
    assert peer.closed()[0] == CLOSED_FOR_PROTOCOL


def test_half_a_code_is_refused(peer: Peer) -> None:
    peer.send(frame(CLOSE, b"\x03"))
    assert peer.closed()[0] == CLOSED_FOR_PROTOCOL


@pytest.mark.parametrize("wrong", INVALID)
def test_a_reason_is_utf_8(peer: Peer, wrong: bytes) -> None:
    peer.send(frame(CLOSE, (1000).to_bytes(2) + wrong))
    assert peer.closed()[0] == CLOSED_FOR_TEXT


@pytest.mark.parametrize("more", [frame(PING, b"?"), text({"t": "who", "of": "user:ann"}), frame(CLOSE), b"\xff"])
def test_after_a_close_nothing_is_answered(peer: Peer, more: bytes) -> None:
    peer.send(frame(CLOSE, (1000).to_bytes(2)) + more)
    assert peer.closed()[0] in {1000, CLOSED_FOR_PROTOCOL}  # what comes after may be found wrong before


def test_after_a_close_of_the_gateway_nothing_is_answered(peer: Peer) -> None:
    peer.send(text({"t": "fly"}) + frame(PING, b"?") + text({"t": "who", "of": "user:ann"}) + frame(CLOSE))
    assert peer.closed()[0] == 4400


def test_what_came_before_something_wrong_does_not_come_after_the_close(peer: Peer) -> None:
    peer.send(text({"t": "who", "of": "user:ann"}) + frame(3))
    kind, payload = peer.frame()
    if kind == TEXT:
        kind, payload = peer.frame()
    assert (kind, int.from_bytes(payload[:2])) == (CLOSE, CLOSED_FOR_PROTOCOL)
    peer.ends()


def test_a_message_that_is_not_whole_ends_with_a_close(peer: Peer) -> None:
    peer.send(frame(TEXT, WHO[:5], fin=False) + frame(CLOSE, (1001).to_bytes(2)))
    assert peer.closed()[0] == 1001


# Masks (5.1, 5.3).


@pytest.mark.parametrize(
    ("kind", "payload"), [(TEXT, WHO), (BINARY, b""), (PING, b"x"), (PONG, b""), (CLOSE, b"\x03\xe8"), (TEXT, b"")]
)
def test_frames_without_a_mask_are_refused(peer: Peer, kind: int, payload: bytes) -> None:
    peer.send(frame(kind, payload, mask=None))
    assert peer.closed()[0] == CLOSED_FOR_PROTOCOL


@pytest.mark.parametrize("mask", [bytes(4), b"\xff" * 4, b"\x00\x00\x00\x01"])
def test_any_mask_will_do(peer: Peer, mask: bytes) -> None:
    peer.send(frame(TEXT, WHO, mask=mask))
    assert peer.hear()["t"] == "here"


# What the specification leaves to us: nobody costs the node more than a bounded piece of it (10.4).


def test_who_asks_without_reading_is_closed(peer: Peer) -> None:
    pings = frame(PING, b"\xfe" * 125) * 5_000
    with suppress(ConnectionError):
        for _ in range(100):
            peer.send(pings)
    assert peer.rest() < 16_000_000  # of 64 MB


def test_json_that_is_nested_without_end_is_refused(peer: Peer) -> None:
    peer.send(frame(TEXT, b'{"t":"send","id":"1","to":"user:nobody","body":' + b"[" * 60_000 + b"]" * 60_000 + b"}"))
    assert peer.closed()[0] == 4400


def test_the_node_is_as_well_as_before(peer: Peer) -> None:
    assert peer.answers()
