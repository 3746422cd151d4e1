"""What clients and the gateway say to each other: JSON text frames, one message each. PROTOCOL.md is its specification.

Pure: no I/O, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from examples.gateway.errors import BadFrame

MAILBOX: Final = "user:"
ROOM: Final = "room:"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
MAX_BODY: Final = 64 * 1024
"""Bytes that the body of a message may have."""
MAX_FRAME: Final = MAX_BODY + 64 * 1024
"""Bytes that a client's frame may have: a hello with many cursors is the longest."""
MAX_ROOMS: Final = 1_000
"""Rooms that one session may be in."""

RESTARTING: Final = 1012
UNHEARD: Final = 4408
TAKEN_OVER: Final = 4409
TOO_SLOW: Final = 4429
BAD_FRAME: Final = 4400
"""What was said isn't this protocol. Below 4000: it isn't even what RFC 6455 has (7.4.1)."""
NOT_WEBSOCKET: Final = 1002
NO_TEXT: Final = 1003
NOT_UTF8: Final = 1007
TOO_LONG: Final = 1009
UNAUTHORISED: Final = 4401


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """A place in a stream: all up to `seq` was seen, in the numbering called `epoch`."""

    epoch: str = ""
    seq: int = 0


class Hello(msgspec.Struct, tag_field="t", tag="hello", forbid_unknown_fields=True):
    """The first frame: who this is, and what was seen of its mailbox and of the rooms that it is in."""

    user: str
    token: str = ""
    resume: dict[str, Cursor] = {}


class Join(msgspec.Struct, tag_field="t", tag="join", forbid_unknown_fields=True):
    """Be in a room: from now on, or from a place that was seen before."""

    room: str
    after: Cursor | None = None


class Leave(msgspec.Struct, tag_field="t", tag="leave", forbid_unknown_fields=True):
    """Be in that room no longer."""

    room: str


class Send(msgspec.Struct, tag_field="t", tag="send", forbid_unknown_fields=True):
    """Say `body` to `user:<name>` or `room:<name>`. The id is the sender's, the same one when it is sent again."""

    id: str
    to: str
    body: msgspec.Raw


class Ack(msgspec.Struct, tag_field="t", tag="ack", forbid_unknown_fields=True):
    """All of the own mailbox up to here is done with: it need not be sent again."""

    e: str
    n: int


class Who(msgspec.Struct, tag_field="t", tag="who", forbid_unknown_fields=True):
    """Ask who is in a room, or whether a user is there."""

    of: str


FromClient = Hello | Join | Leave | Send | Ack | Who


class Welcome(msgspec.Struct, tag_field="t", tag="welcome"):
    """The session has begun. `remember` is how many ids a client must know to recognise what it gets twice."""

    node: str
    user: str
    session: str
    remember: int


class Message(msgspec.Struct, tag_field="t", tag="msg", rename={"sender": "from"}):
    """One message of a stream."""

    on: str
    e: str
    n: int
    id: str
    sender: str
    at: int
    body: msgspec.Raw


class Accepted(msgspec.Struct, tag_field="t", tag="ok"):
    """What was sent with this id is stored, as number `n` of its stream."""

    id: str
    n: int


class Rejected(msgspec.Struct, tag_field="t", tag="no"):
    """What was sent with this id is not stored; with `retry`, the same may be sent again later."""

    id: str
    why: str
    retry: bool


class Joined(msgspec.Struct, tag_field="t", tag="joined"):
    """The room is followed from here on."""

    room: str
    e: str
    n: int


class Here(msgspec.Struct, tag_field="t", tag="here"):
    """Who is there: at most some hundred names, and the number of all."""

    of: str
    users: list[str]
    count: int


class Presence(msgspec.Struct, tag_field="t", tag="presence"):
    """Who came to a room and who left it, and how many are there now."""

    room: str
    came: list[str]
    left: list[str]
    count: int


class Bye(msgspec.Struct, tag_field="t", tag="bye"):
    """This node closes the connection: go to one of these, each after a random part of so many seconds."""

    why: str
    to: list[str]
    within: float


FromGateway = Welcome | Message | Accepted | Rejected | Joined | Here | Presence | Bye

_decoder: msgspec.json.Decoder[FromClient] = msgspec.json.Decoder(FromClient)
_gateway_decoder: msgspec.json.Decoder[FromGateway] = msgspec.json.Decoder(FromGateway)
encode: Callable[[object], bytes] = msgspec.json.Encoder().encode


def decode(frame: bytes | memoryview) -> FromClient:
    """Return what a client said. Raises `BadFrame`."""
    try:
        return _decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        check_utf8(bytes(frame))
        raise BadFrame(str(error)) from error


def decode_answer(frame: bytes | str) -> FromGateway:
    """Return what the gateway said. Raises `msgspec.MsgspecError`."""
    return _gateway_decoder.decode(frame)


def check_name(name: str) -> str:
    """Return the name of a user or a room. Raises `BadFrame` for what can't be one."""
    if NAME.fullmatch(name) is None:
        raise BadFrame(f"{name[:80]!r} is no name: 1 to 64 of A-Z a-z 0-9 . _ @ -, the first a letter or a digit")
    return name


def check_stream(stream: str) -> str:
    """Return the name of a stream, `user:<name>` or `room:<name>`. Raises `BadFrame`."""
    if not stream.startswith((MAILBOX, ROOM)):
        raise BadFrame(f"{stream[:80]!r} is neither user:<name> nor room:<name>")
    check_name(stream[len(ROOM) :])
    return stream


def check_utf8(text: bytes) -> None:
    """Raise `BadFrame` for what is no text: whoever it came to would have to end the connection (RFC 6455, 8.1)."""
    try:
        text.isascii() or text.decode()
    except UnicodeDecodeError as error:
        raise BadFrame("this is not UTF-8", NOT_UTF8) from error


def check_send(send: Send) -> Send:
    """Return it. Raises `BadFrame` for a stream, an id or a body that can't be."""
    check_stream(send.to)
    if not 0 < len(send.id) <= 64:
        raise BadFrame("an id has 1 to 64 characters")
    body = bytes(send.body)
    if len(body) > MAX_BODY:
        raise BadFrame(f"a body has at most {MAX_BODY} bytes")
    check_utf8(body)  # the decoder looks at all but this, which is passed on as it is
    return send


def is_mailbox(stream: str) -> bool:
    """Whether a stream is a user's mailbox: one reader, kept until acked. Else it is a room."""
    return stream.startswith(MAILBOX)
