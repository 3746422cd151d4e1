"""Links between nodes: one WebSocket from each node to each other, over which both ends prove to know the secret.

A link belongs to the node that dialled it: that asks as an edge, the other answers as a keeper. What is said in one
tick goes as one frame.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import socket
import struct
import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from examples.gateway.errors import LinkRefused
from examples.gateway.peering import Beat, Challenge, Proof, Spoken, decode, encode
from examples.gateway.ticks import Tick

log = logging.getLogger(__name__)

SILENCE: Final = 4.0
"""Seconds without a word after which a link counts as dead."""
BEAT: Final = 1.0
MAX_BACKLOG: Final = 64 * 1024 * 1024
"""Bytes that may wait for a peer that doesn't read."""
_PATIENCE: Final = 5.0
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


class Line(Protocol):
    """One end of a link, or of the short way from a node to itself."""

    peer: str

    def send(self, message: Spoken) -> None:
        """Say something; if the line is down by then it is lost."""

    def close(self, why: str) -> None:
        """Hang up."""


Receive = Callable[["Line", Spoken], None]
Change = Callable[["Line"], None]


class Loopback:
    """The short way from a node's edge to its own keeper, or back: nothing is encoded, order and ticks are kept."""

    def __init__(self, node: str, receive: Receive) -> None:
        self.peer = node
        self.other: Loopback | None = None
        self._receive = receive
        self._waiting: list[Spoken] = []
        self._tick = Tick(self._deliver)

    @classmethod
    def pair(cls, node: str, at_edge: Receive, at_keeper: Receive) -> tuple[Loopback, Loopback]:
        """Return the edge's end and the keeper's."""
        edge, keeper = cls(node, at_edge), cls(node, at_keeper)
        edge.other, keeper.other = keeper, edge
        return edge, keeper

    def send(self, message: Spoken) -> None:
        """See `Line`."""
        if self.other is not None:
            self.other.take(message)

    def take(self, message: Spoken) -> None:
        """Have a message of the other end delivered in the next tick."""
        self._waiting.append(message)
        self._tick.ask()

    def close(self, why: str) -> None:
        """See `Line`: it never is down."""

    def _deliver(self) -> None:
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            self._receive(self, message)


class Credentials:
    """Who a node is, and the secret that all share. Neither end says the secret: both prove it, for this link only."""

    def __init__(self, node: str, secret: bytes) -> None:
        self.node = node
        self._secret = secret

    def mac(self, role: bytes, speaker: str, hearer: str, *nonces: bytes) -> bytes:
        """Return what only one who knows the secret can say, as `speaker`, to `hearer`, now."""
        parts = (role, speaker.encode(), hearer.encode(), *nonces)
        text = b"".join(struct.pack("!I", len(part)) + part for part in parts)
        return hmac.new(self._secret, text, hashlib.sha256).digest()


class Link(WSListener):
    """One end of a link, once the WebSocket is there. `target` is the peer that was dialled, None where it dialled us.

    `up` is called when the peer has proved itself, `down` once after that, `on_end` in any case; `lasted` says whether
    the peer ever proved itself.
    """

    def __init__(
        self, credentials: Credentials, target: str | None, receive: Receive, up: Change, down: Change
    ) -> None:
        self.peer = target or ""
        self.proven = False
        self.lasted = False
        self.heard = time.monotonic()
        self.on_end: Callable[[Link], None] = lambda _: None
        self._credentials = credentials
        self._dialled = target is not None
        self._nonce = secrets.token_bytes(16)
        self._receive, self._up, self._down = receive, up, down
        self._transport: WSTransport | None = None
        self._outbox: list[Spoken] = []
        self._tick = Tick(self._flush)

    def send(self, message: Spoken) -> None:
        """See `Line`."""
        self._outbox.append(message)
        self._tick.ask()

    def close(self, why: str) -> None:
        """See `Line`."""
        if self._transport is not None:
            log.info("link with %s is closed: %s", self.peer or "somebody", why)
            transport, self._transport = self._transport, None
            self._tick.cancel()
            let_nothing_linger(transport)
            transport.disconnect(False)

    def look(self, now: float) -> None:
        """Beat, and hang up on a peer that is silent or doesn't read; to be called every `BEAT` seconds."""
        patience = SILENCE if self.proven else _PATIENCE
        if now - self.heard > patience:
            self.close(f"nothing was heard for {patience:g} s")
        elif self._transport and self._transport.underlying_transport.get_write_buffer_size() > MAX_BACKLOG:
            self.close("it doesn't read")
        else:
            self.send(Beat())

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Called by picows."""
        self._transport = transport
        if not self._dialled:
            self._say(Challenge(self._nonce))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Called by picows."""
        self.heard = time.monotonic()
        if frame.msg_type == WSMsgType.CLOSE:
            self.close("the other end closed it")
            return
        try:
            messages = decode(frame.get_payload_as_memoryview())
        except msgspec.MsgspecError as error:
            self.close(f"it said what can't be read: {error}")
            return
        self._take(messages)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Called by picows."""
        self._transport = None
        self._tick.cancel()
        self.on_end(self)
        if self.proven:
            self.proven = False
            self._down(self)

    def pause_writing(self) -> None:
        """Called by picows: `look` decides about a peer that doesn't read."""

    def resume_writing(self) -> None:
        """Called by picows."""

    def _take(self, messages: list[Spoken]) -> None:
        if not self.proven:
            messages = self._introduce(messages)
        for message in messages:
            if not isinstance(message, Beat):
                self._receive(self, message)

    def _introduce(self, messages: list[Spoken]) -> list[Spoken]:
        """Have the peer prove itself; returns what it said after that."""
        first, *rest = messages
        try:
            if isinstance(first, Challenge) and self._dialled:
                self._answer(first.nonce)
            elif not isinstance(first, Beat):
                self._check(first)
        except LinkRefused as error:
            log.warning("link with %s is refused: %s", self.peer or "somebody", error)
            self.close("refused")
        return rest if self.proven else []

    def _answer(self, challenge: bytes) -> None:
        self._nonce += challenge
        mac = self._credentials.mac(b"dials", self._credentials.node, self.peer, challenge)
        self._say(Proof(self._credentials.node, self._nonce, mac))

    def _check(self, proof: Spoken) -> None:
        """Believe a proof, and as the end that was dialled prove ourselves in return. Raises `LinkRefused`."""
        if not isinstance(proof, Proof):
            raise LinkRefused("it speaks before it has proved who it is")
        us = self._credentials.node
        if self._dialled:
            expected = self._credentials.mac(b"answers", self.peer, us, self._nonce)
            if proof.node != self.peer:
                raise LinkRefused(f"it is node {proof.node!r}: the topology is old, or an address is wrong")
        else:
            expected = self._credentials.mac(b"dials", proof.node, us, self._nonce)
        if not hmac.compare_digest(proof.mac, expected):
            raise LinkRefused("it doesn't know the secret")
        if not self._dialled:
            self.peer = proof.node
            mac = self._credentials.mac(b"answers", us, proof.node, proof.nonce)
            self._say(Proof(us, b"", mac))
        self.proven = self.lasted = True
        self._up(self)

    def _say(self, message: Spoken) -> None:
        if self._transport is not None:
            self._transport.send(WSMsgType.BINARY, encode([message]))

    def _flush(self) -> None:
        if self.proven and self._transport is not None and not self._transport.is_disconnected:
            outbox, self._outbox = self._outbox, []
            self._transport.send(WSMsgType.BINARY, encode(outbox))


def let_nothing_linger(transport: WSTransport) -> None:
    """Have the kernel free what waits to be sent when the connection is closed, and not keep trying."""
    sock = transport.underlying_transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
