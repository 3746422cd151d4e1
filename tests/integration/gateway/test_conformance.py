"""RFC 6455 against a real node, frame by frame: the groups of the Autobahn testsuite, for a server that isn't an echo.

That suite itself needs Python 2 and a server that sends back what it gets. What is sent to oneself comes back here too,
as a message of one's mailbox: so the same is asked of the gateway in its own words. Compression (groups 12 and 13) is
not offered, and so never agreed on.
"""

from __future__ import annotations

import itertools

import pytest

from examples.gateway.protocol import MAX_BODY, MAX_FRAME
from tests.integration.gateway.peer import (
    BINARY,
    CLOSE,
    CLOSED_FOR_KIND,
    CLOSED_FOR_PROTOCOL,
    CLOSED_FOR_SIZE,
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

# The opening handshake (4.2).


def test_the_key_is_answered_as_the_specification_has_it(stranger: Peer) -> None:
    status, head = stranger.ask()
    assert status == 101
    assert "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in head.lower()
    assert "sec-websocket-extensions" not in head.lower()
    assert "sec-websocket-protocol" not in head.lower()


@pytest.mark.parametrize(
    "headers",
    [
        {"Connection": "keep-alive, Upgrade"},  # Firefox
        {"Connection": "upgrade", "Upgrade": "WebSocket"},
        {"Sec_WebSocket_Extensions": "permessage-deflate; client_max_window_bits"},
        {"Sec_WebSocket_Protocol": "chat, superchat"},
        {"Origin": "http://elsewhere.example"},
    ],
)
def test_what_browsers_ask_is_granted(stranger: Peer, headers: dict[str, str]) -> None:
    status, head = stranger.ask(**headers)
    assert status == 101
    assert "sec-websocket-extensions" not in head.lower()
    assert "sec-websocket-protocol" not in head.lower()


@pytest.mark.parametrize("version", ["8", "12", "14", "0", "x", None])
def test_another_version_is_told_which_one_is_spoken(stranger: Peer, version: str | None) -> None:
    """4.4."""
    status, head = stranger.ask(Sec_WebSocket_Version=version)
    assert status == 426
    assert "sec-websocket-version: 13" in head.lower()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upgrade": None}, 426),
        ({"Upgrade": "h2c"}, 426),
        ({"Connection": None}, 426),
        ({"Connection": "keep-alive"}, 426),
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Key": "c2hvcnQ="}, 400),
        ({"Sec_WebSocket_Key": "not base64 at all!!"}, 400),
        ({"Host": None}, 400),
    ],
)
def test_what_is_no_request_for_a_websocket_is_refused(
    stranger: Peer, headers: dict[str, str | None], status: int
) -> None:
    assert stranger.ask(**headers)[0] == status


@pytest.mark.parametrize("line", ["GET /ws HTTP/1.0", "POST /ws HTTP/1.1", "GET /ws", "\x16\x03\x01", ""])
def test_what_is_no_request_at_all_is_refused(stranger: Peer, line: str) -> None:
    assert stranger.request(line, "Host: gateway")[0] == 400


def test_frames_may_come_with_the_handshake_and_it_in_pieces(stranger: Peer) -> None:
    head = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    stranger.send(head.encode(), pieces=1)
    hello = frame(TEXT, b'{"t":"hello","user":"early"}')
    stranger.send(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" + hello)
    status, _ = stranger.granted()
    assert status == 101
    assert stranger.hear()["t"] == "welcome"


# Group 1: framing (5.2), group 9: limits.


@pytest.mark.parametrize("size", [0, 1, 60, 80, 125, 126, 127, 128, 65_000, MAX_BODY - 2])
def test_a_text_of_any_size_comes_back(peer: Peer, size: int) -> None:
    peer.send(frame(TEXT, to_self(peer, "*" * size)))
    assert peer.hear("msg")["body"] == "*" * size


@pytest.mark.parametrize("pieces", [1, 2, 7, 997])
def test_a_text_in_chopped_segments_comes_back(peer: Peer, pieces: int) -> None:
    body = "*" * (2_000 if pieces < 10 else 60_000)
    peer.send(frame(TEXT, to_self(peer, body)), pieces=pieces)
    assert peer.hear("msg")["body"] == body


def test_many_frames_in_one_segment_are_answered_in_order(peer: Peer) -> None:
    asked = [f"user:u{number}" for number in range(100)]
    peer.send(b"".join(text({"t": "who", "of": of}) for of in asked))
    assert [peer.hear()["of"] for _ in asked] == asked


@pytest.mark.parametrize("payload", [b"", b"\x00\xff", WHO])
def test_binary_is_data_that_is_not_taken(peer: Peer, payload: bytes) -> None:
    """7.4.1: 1003."""
    peer.send(frame(BINARY, payload))
    assert peer.closed()[0] == CLOSED_FOR_KIND


@pytest.mark.parametrize("length", [MAX_FRAME + 1, 1 << 31, 1 << 62])
def test_a_frame_that_claims_too_much_is_refused_by_its_head(peer: Peer, length: int) -> None:
    peer.send(frame(TEXT, b"x", length=length))
    assert peer.closed()[0] == CLOSED_FOR_SIZE


@pytest.mark.parametrize("size", [1, 100, 65_536])
def test_fragments_that_become_too_much_are_refused(peer: Peer, size: int) -> None:
    count = MAX_FRAME // size + 1
    more = frame(CONTINUATION, b" " * size, fin=False)
    peer.send(frame(TEXT, b" ", fin=False) + more * count)
    assert peer.closed()[0] == CLOSED_FOR_SIZE


@pytest.mark.parametrize(
    "head",
    [
        b"\x81\xfe\x00\x05",  # 5 in two bytes
        b"\x81\xff" + (5).to_bytes(8),
        b"\x81\xff" + (65_535).to_bytes(8),
        b"\x81\xff\x80" + bytes(7),  # the most significant bit
    ],
)
def test_a_length_that_is_not_written_as_it_must_be_is_refused(peer: Peer, head: bytes) -> None:
    peer.send(head + bytes(4) + b"hello")
    assert peer.closed()[0] == CLOSED_FOR_PROTOCOL


# Group 2: pings and pongs (5.5.2, 5.5.3).


@pytest.mark.parametrize("payload", [b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125])
@pytest.mark.parametrize("pieces", [0, 1])
def test_a_ping_is_answered_with_what_it_had(peer: Peer, payload: bytes, pieces: int) -> None:
    peer.send(frame(PING, payload), pieces=pieces)
    assert peer.frame() == (PONG, payload)


def test_ten_pings_are_answered_in_order(peer: Peer) -> None:
    payloads = [b"payload-%d" % number for number in range(10)]
    peer.send(b"".join(frame(PING, payload) for payload in payloads))
    assert [peer.frame() for _ in payloads] == [(PONG, payload) for payload in payloads]


def test_pongs_that_nobody_asked_for_are_passed_over(peer: Peer) -> None:
    peer.send(frame(PONG) + frame(PONG, b"unasked") + frame(PING, b"mine"))
    assert peer.frame() == (PONG, b"mine")


@pytest.mark.parametrize("kind", [PING, PONG, CLOSE])
@pytest.mark.parametrize("size", [126, 70_000])
def test_a_control_frame_has_at_most_125_bytes(peer: Peer, kind: int, size: int) -> None:
    """5.5."""
    peer.send(frame(kind, b"\xfe" * size))
    assert peer.closed()[0] == CLOSED_FOR_PROTOCOL


# Group 3: reserved bits (5.2).


@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize(
    ("kind", "payload"), [(TEXT, WHO), (TEXT, b""), (BINARY, b"x"), (PING, b"x"), (PONG, b""), (CLOSE, b"")]
)
def test_reserved_bits_are_refused(peer: Peer, kind: int, payload: bytes, reserved: int) -> None:
    peer.send(frame(kind, payload, reserved=reserved))
    assert peer.closed()[0] == CLOSED_FOR_PROTOCOL


def test_reserved_bits_are_refused_in_the_middle_too(peer: Peer) -> None:
    peer.send(frame(TEXT, WHO[:5], fin=False) + frame(CONTINUATION, WHO[5:], reserved=4))
    assert peer.closed()[0] == CLOSED_FOR_PROTOCOL


# Group 4: opcodes (5.2).


@pytest.mark.parametrize("kind", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved opcode"])
def test_reserved_opcodes_are_refused(peer: Peer, kind: int, payload: bytes) -> None:
    peer.send(frame(kind, payload))
    assert peer.closed()[0] == CLOSED_FOR_PROTOCOL


# Group 5: fragmentation (5.4).


@pytest.mark.parametrize("kind", [PING, PONG, CLOSE])
def test_control_frames_are_not_fragmented(peer: Peer, kind: int) -> None:
    peer.send(frame(kind, b"", fin=False) + frame(CONTINUATION, b""))
    assert peer.closed()[0] == CLOSED_FOR_PROTOCOL


@pytest.mark.parametrize("pieces", [0, 1, 3])
@pytest.mark.parametrize("cuts", [(0,), (5,), (len(WHO),), (0, 0, 0), (1, 2, 3), (0, 10, 10, 20)])
def test_fragments_are_joined(peer: Peer, cuts: tuple[int, ...], pieces: int) -> None:
    ends = [*cuts, len(WHO)]
    parts = [WHO[start:end] for start, end in itertools.pairwise([0, *ends])]
    last = len(parts) - 1
    raw = (frame(CONTINUATION if n else TEXT, part, fin=n == last) for n, part in enumerate(parts))
    peer.send(b"".join(raw), pieces=pieces)
    assert peer.hear()["t"] == "here"


@pytest.mark.parametrize("pieces", [0, 1])
def test_control_frames_come_between_fragments(peer: Peer, pieces: int) -> None:
    peer.send(frame(TEXT, WHO[:7], fin=False) + frame(PING, b"1") + frame(PONG, b"unasked"), pieces=pieces)
    assert peer.frame() == (PONG, b"1")
    peer.send(frame(CONTINUATION, WHO[7:9], fin=False) + frame(PING, b"2"), pieces=pieces)
    assert peer.frame() == (PONG, b"2")
    peer.send(frame(CONTINUATION, WHO[9:]), pieces=pieces)
    assert peer.hear()["t"] == "here"


@pytest.mark.parametrize("fin", [True, False])
def test_there_has_to_be_something_to_continue(peer: Peer, fin: bool) -> None:
    peer.send(frame(CONTINUATION, WHO, fin=fin))
    assert peer.closed()[0] == CLOSED_FOR_PROTOCOL


def test_there_has_to_be_something_to_continue_after_a_whole_message(peer: Peer) -> None:
    peer.send(frame(TEXT, WHO))
    assert peer.hear()["t"] == "here"
    peer.send(frame(CONTINUATION, b"more"))
    assert peer.closed()[0] == CLOSED_FOR_PROTOCOL


@pytest.mark.parametrize("kind", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("begun", [b"", WHO[:9]])
def test_a_message_is_ended_before_the_next_one(peer: Peer, kind: int, fin: bool, begun: bytes) -> None:
    peer.send(frame(TEXT, begun, fin=False) + frame(kind, WHO, fin=fin))
    assert peer.closed()[0] == CLOSED_FOR_PROTOCOL


def test_a_hundred_thousand_fragments_are_a_message(peer: Peer) -> None:
    """Joining them must not cost more with each."""
    space = frame(CONTINUATION, b" ", fin=False)
    peer.send(frame(TEXT, WHO, fin=False) + space * 100_000 + frame(CONTINUATION))
    assert peer.hear()["t"] == "here"


def test_empty_fragments_gather_nothing(peer: Peer) -> None:
    nothing = frame(CONTINUATION, b"", fin=False)
    peer.send(frame(TEXT, WHO, fin=False) + nothing * 200_000 + frame(CONTINUATION))
    assert peer.hear()["t"] == "here"
