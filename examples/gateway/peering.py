"""What nodes say to each other over links. MessagePack arrays; many in one frame. PROTOCOL.md has the conversation.

The edge is the node that a client is connected to, the keeper the one that owns a stream.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from examples.gateway.protocol import Cursor


class Peered(msgspec.Struct, frozen=True, array_like=True, tag_field="t", gc=False):
    """The base of all of them."""


class Parcel(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message on its way to the keeper of its stream; `token` is the edge's, to know the answer by."""

    token: int
    stream: str
    id: str
    sender: str
    at: int
    body: bytes


class Session(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A client's session on an edge; `since` in milliseconds of the wall clock decides which of two is the newer."""

    id: str
    user: str
    since: int


class Challenge(Peered, frozen=True, tag=1):
    """The accepting end: prove who you are, given this."""

    nonce: bytes


class Proof(Peered, frozen=True, tag=2):
    """Either end: this is who I am, and that I know the secret."""

    node: str
    nonce: bytes
    mac: bytes


class Beat(Peered, frozen=True, tag=3):
    """Still here."""


class Publish(Peered, frozen=True, tag=10):
    """Edge: store these, and pass them on to who follows their streams."""

    parcels: list[Parcel]
    revision: int
    cluster_id: int


class Follow(Peered, frozen=True, tag=11):
    """Edge: tell me what comes in this stream; these sessions are in it."""

    stream: str
    sessions: list[Session]
    revision: int
    cluster_id: int


class Unfollow(Peered, frozen=True, tag=12):
    """Edge: nobody here is in that stream any more."""

    stream: str


class Members(Peered, frozen=True, tag=13):
    """Edge: these sessions came to a stream that I follow, these left it."""

    stream: str
    came: list[Session]
    left: list[Session]


class Read(Peered, frozen=True, tag=14):
    """Edge: what is there after this place, up to that number?"""

    stream: str
    after: Cursor
    upto: int


class Acks(Peered, frozen=True, tag=15):
    """Edge: these mailboxes are done with up to here."""

    cursors: dict[str, Cursor]


class WhoIs(Peered, frozen=True, tag=16):
    """Edge: who is in this stream?"""

    token: int
    stream: str
    revision: int
    cluster_id: int


class Stored(Peered, frozen=True, tag=20):
    """Keeper: these parcels are stored, as these numbers."""

    numbers: list[tuple[int, int]]


class Refused(Peered, frozen=True, tag=21):
    """Keeper: these parcels are not stored; with `retry` because of me, else because of them."""

    tokens: list[int]
    why: str
    retry: bool


class Following(Peered, frozen=True, tag=22):
    """Keeper: you follow, from here on."""

    stream: str
    head: Cursor


class Push(Peered, frozen=True, tag=23):
    """Keeper: the next of a stream that you follow, as the text that clients get."""

    stream: str
    at: Cursor
    text: bytes


class Advance(Peered, frozen=True, tag=24):
    """Keeper: the stream goes up to here, and not by pushes: read it."""

    stream: str
    head: Cursor


class Page(Peered, frozen=True, tag=25):
    """Keeper: what you asked to read: numbers and texts, and the place up to which that is all."""

    stream: str
    asked: Cursor
    texts: list[bytes]
    upto: Cursor


class Moved(Peered, frozen=True, tag=26):
    """Keeper: I don't keep that stream, or no longer."""

    stream: str


class Evict(Peered, frozen=True, tag=27):
    """Keeper: the user has a newer session than this one elsewhere."""

    stream: str
    session: str


class Attendance(Peered, frozen=True, tag=28):
    """Keeper: who is in the stream."""

    token: int
    users: list[str]
    count: int


class Presences(Peered, frozen=True, tag=29):
    """Keeper: the text that clients get about who came to a room and who left it."""

    stream: str
    text: bytes


class Handover(Peered, frozen=True, tag=40):
    """A keeper that was: what a stream of yours has here, oldest first, and the ids of what it had."""

    stream: str
    parcels: list[Parcel]
    ids: list[tuple[str, int]]


class HandedOver(Peered, frozen=True, tag=41):
    """The keeper that is: I have stored it."""

    stream: str


class Cleared(Peered, frozen=True, tag=42):
    """A node: by the topology of this revision, I have nothing left of what is yours."""

    revision: int
    cluster_id: int


class Expire(Peered, frozen=True, tag=43):
    """The leader: forget what is older than this; refused if its fence is below one that was seen."""

    before: int
    ids_before: int
    fence: int


Spoken = (
    Challenge
    | Proof
    | Beat
    | Publish
    | Follow
    | Unfollow
    | Members
    | Read
    | Acks
    | WhoIs
    | Stored
    | Refused
    | Following
    | Push
    | Advance
    | Page
    | Moved
    | Evict
    | Attendance
    | Presences
    | Handover
    | HandedOver
    | Cleared
    | Expire
)

encode: Callable[[list[Spoken]], bytes] = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes | memoryview], list[Spoken]] = msgspec.msgpack.Decoder(list[Spoken]).decode
