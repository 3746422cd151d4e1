"""One client's WebSocket: reads what it says, and is written to by the feeds of the streams that it is in."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from picows import WSFrame, WSListener, WSMsgType, WSTransport

from examples.gateway import protocol
from examples.gateway.courier import Courier
from examples.gateway.errors import BadFrame
from examples.gateway.framing import Assembly, answer_to_close
from examples.gateway.hub import Hub
from examples.gateway.links import let_nothing_linger
from examples.gateway.peering import Session
from examples.gateway.protocol import (
    MAILBOX,
    ROOM,
    Accepted,
    Ack,
    Bye,
    Cursor,
    FromClient,
    Hello,
    Here,
    Join,
    Joined,
    Leave,
    Rejected,
    Send,
    Welcome,
    Who,
    check_name,
    check_send,
    check_stream,
    encode,
)
from examples.gateway.wire import PING, close_frame, pong_frame, text_frame

log = logging.getLogger(__name__)

HIGH_WATER: Final = 256 * 1024
"""Bytes that may wait for a client before it is parked."""
MOST_WAITING: Final = 4 * 1024 * 1024
"""Bytes beyond which it is closed: answers to what it asks come on top of what streams send."""
MOST_UNANSWERED: Final = 256
"""Messages of one client that may be on their way to their keepers: then nothing more is read from it."""
_HELLO_SECONDS: Final = 10.0
_PING_AFTER: Final = 20.0
_SILENCE: Final = 50.0
_SLOW_SECONDS: Final = 15.0
_ACK_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 2.0
_CONTROL: Final = frozenset({WSMsgType.CLOSE, WSMsgType.PING, WSMsgType.PONG})
_NOBODY: Final = Session("", "", 0)
_NOWHERE: Final = Cursor()


class Host(Protocol):
    """What a connection knows of the reception that took it in."""

    hub: Hub
    courier: Courier

    def arrived(self, connection: Connection) -> None:
        """Count a connection in."""

    def register(self, connection: Connection, hello: Hello) -> Welcome | None:
        """Begin a session; None if the token isn't the user's."""

    def leaving(self, connection: Connection) -> None:
        """End the session of a connection that is being closed."""

    def gone(self, connection: Connection) -> None:
        """Count a connection out."""

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Do something after a while."""

    def flush_soon(self, connection: Connection) -> None:
        """Call its `flush` at the end of this tick."""


class Connection(WSListener):
    """A client, from its first byte to its last. Times are monotonic.

    `proxied` if it came through a proxy, which it goes back to rather than to a node; `paused` while more than
    `HIGH_WATER` bytes wait for it; `closing` once nothing is to be sent to it any more.
    """

    __slots__ = (
        "_assembly",
        "_mail_sent",
        "_mail_since",
        "_outbox",
        "_raw_write",
        "_reception",
        "_slow_since",
        "_streams",
        "_transport",
        "_unanswered",
        "closing",
        "heard",
        "paused",
        "proxied",
        "session",
    )

    def __init__(self, reception: Host, *, proxied: bool = False) -> None:
        self.session = _NOBODY
        self.proxied = proxied
        self.paused = False
        self.closing = False
        self.heard = time.monotonic()
        self._reception = reception
        self._transport: WSTransport | None = None
        self._streams: dict[str, None] = {}
        self._assembly = Assembly()
        self._outbox: list[bytes] = []
        self._raw_write: Callable[[bytes], None] = _drop
        self._unanswered = 0
        self._slow_since: float | None = None
        self._mail_sent = _NOWHERE
        self._mail_since: float | None = None

    # What picows calls.

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The WebSocket is there."""
        self._transport = transport
        stream = transport.underlying_transport
        self._raw_write = stream.write
        stream.set_write_buffer_limits(high=HIGH_WATER)
        self._reception.arrived(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame came; fragments are ours to join, and reserved bits to refuse."""
        self.heard = time.monotonic()
        if not (self.closing or transport.is_close_frame_sent):
            try:
                self._take(frame)
            except BadFrame as error:
                self.close(error.code, str(error))
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection is gone."""
        self.closing = True
        self._leave_all()
        self._transport = None
        self._raw_write = _drop
        self._outbox.clear()
        self._reception.gone(self)

    def pause_writing(self) -> None:
        """More waits for the client than should."""
        self.paused = True
        self._slow_since = time.monotonic()
        self._reception.hub.park(self, self._streams)

    def resume_writing(self) -> None:
        """It has read most of it."""
        self.paused = False
        self._slow_since = None
        if not self.closing:
            self._reception.hub.unpark(self, self._streams)

    # What feeds call.

    def write(self, frames: bytes) -> None:
        """Send WebSocket frames, as they are."""
        if self._outbox:
            self._outbox.append(frames)
        elif not self.closing:
            self._raw_write(frames)

    def write_soon(self, frames: bytes) -> None:
        """Send WebSocket frames at the end of this tick: all that is for one client then is one write."""
        if not self.closing:
            if not self._outbox:
                self._reception.flush_soon(self)
            self._outbox.append(frames)

    def placed(self, stream: str, head: Cursor) -> None:
        """A stream is followed from here on."""
        if stream.startswith(ROOM):
            self._say(Joined(stream.removeprefix(ROOM), head.epoch, head.seq))

    def given(self, stream: str, upto: Cursor) -> None:
        """All of a stream up to here was sent: of the mailbox, an ack of it is waited for."""
        if stream.startswith(MAILBOX) and upto != self._mail_sent:
            self._mail_sent = upto
            self._mail_since = self._mail_since or time.monotonic()

    def evict(self) -> None:
        """The user has a newer session."""
        self.close(protocol.TAKEN_OVER, "a newer session of this user has taken over")

    # What the reception calls.

    def flush(self) -> None:
        """Send what gathered in this tick."""
        if self._outbox:
            outbox, self._outbox = self._outbox, []
            if self._transport is None or self._transport.is_close_frame_sent:
                return  # picows has said goodbye: nothing comes after that
            self._raw_write(outbox[0] if len(outbox) == 1 else b"".join(outbox))

    def look(self, now: float) -> None:
        """Ping, or close where something takes too long; to be called every second or so."""
        if self.closing:
            return
        silent = now - self.heard
        if not self.session.id and silent > _HELLO_SECONDS:
            self.close(protocol.UNHEARD, "no hello came")
        elif silent > _SILENCE:
            self.close(protocol.UNHEARD, "nothing was heard")
        elif self._slow_since and now - self._slow_since > _SLOW_SECONDS:
            self.close(protocol.TOO_SLOW, "too slow: more waits for you than is kept in memory")
        elif self._mail_since and now - self._mail_since > _ACK_SECONDS:
            self.close(protocol.UNHEARD, "acks are missing")
        elif silent > _PING_AFTER:
            self.write(PING)

    def dismiss(self, to: list[str], within: float, why: str) -> None:
        """Send the client to other nodes."""
        self._say(Bye(why, to, within))
        self.close(protocol.RESTARTING, why)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame behind what waits, and nothing more; who doesn't answer it is gone in 2 seconds."""
        if self.closing or self._transport is None:
            return
        log.debug("client %s is closed: %d %s", self.session.user or "?", code, reason)
        self.write_soon(close_frame(code, reason))
        self.flush()
        self.closing = True
        self._leave_all()
        self._reception.leaving(self)
        self._reception.later(_CLOSE_SECONDS, self.hang_up)

    def hang_up(self) -> None:
        """Close the connection without waiting for anything."""
        if self._transport is not None:
            if self.paused:
                with contextlib.suppress(OSError):
                    let_nothing_linger(self._transport)
            self._transport.disconnect(False)

    def _leave_all(self) -> None:
        streams, self._streams = self._streams, {}
        for stream in streams:
            self._reception.hub.detach(self, stream)

    def _take(self, frame: WSFrame) -> None:
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            raise BadFrame("no extension was agreed on that reserved bits could be of", protocol.NOT_WEBSOCKET)
        if frame.msg_type == WSMsgType.TEXT and frame.fin and not self._assembly.begun:
            self._hear(protocol.decode(frame.get_payload_as_memoryview()))
        elif frame.msg_type in _CONTROL:
            self._control(frame)
        else:
            text = self._assembly.add(frame.msg_type, frame.get_payload_as_memoryview(), fin=frame.fin)
            if text is not None:
                self._hear(protocol.decode(text))

    def _control(self, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.PING:
            self._answer(pong_frame(frame.get_payload_as_bytes()))
        elif frame.msg_type == WSMsgType.CLOSE:
            self.close(answer_to_close(frame.get_payload_as_bytes()), "")

    @property
    def waiting(self) -> int:
        """How many bytes wait for the client."""
        return self._transport.underlying_transport.get_write_buffer_size() if self._transport else 0

    def _say(self, message: object) -> None:
        self._answer(text_frame(encode(message)))

    def _answer(self, frame: bytes) -> None:
        self.write_soon(frame)
        if self.paused and self.waiting > MOST_WAITING:
            self.close(protocol.TOO_SLOW, "too slow: answers aren't read")

    def _hear(self, message: FromClient) -> None:
        if isinstance(message, Send) and self.session.id:
            self._send(message)
        elif isinstance(message, Ack) and self.session.id:
            self._ack(message)
        elif isinstance(message, Hello):
            self._hello(message)
        elif not self.session.id:
            raise BadFrame("the first frame has to be a hello")
        else:
            self._do(message)

    def _do(self, message: FromClient) -> None:
        match message:
            case Join():
                self._enter(check_name(message.room), message.after)
            case Leave():
                stream = ROOM + message.room
                if stream in self._streams:
                    del self._streams[stream]
                    self._reception.hub.detach(self, stream)
            case Who():
                of = check_stream(message.of)
                self._reception.hub.who(of, lambda users, count: self._say(Here(of, users, count)))

    def _hello(self, hello: Hello) -> None:
        if self.session.id:
            raise BadFrame("a session has one hello")
        check_name(hello.user)
        welcome = self._reception.register(self, hello)
        if welcome is None:
            self.close(protocol.UNAUTHORISED, "the token isn't this user's")
            return
        self._say(welcome)
        mailbox = MAILBOX + hello.user
        cursor = hello.resume.pop(mailbox, None)
        self._streams[mailbox] = None
        if cursor is not None:
            self._reception.hub.ack(mailbox, cursor)
        self._reception.hub.attach(self, mailbox, cursor)
        for stream, after in hello.resume.items():
            if not stream.startswith(ROOM):
                raise BadFrame("of mailboxes only one's own can be resumed")
            self._enter(check_name(stream.removeprefix(ROOM)), after)

    def _enter(self, room: str, after: Cursor | None) -> None:
        stream = ROOM + room
        if stream in self._streams:
            return
        if len(self._streams) > protocol.MAX_ROOMS:
            raise BadFrame(f"a session is in at most {protocol.MAX_ROOMS} rooms")
        self._streams[stream] = None
        self._reception.hub.attach(self, stream, after)

    def _send(self, send: Send) -> None:
        check_send(send)
        self._unanswered += 1
        if self._unanswered == MOST_UNANSWERED and self._transport is not None:
            self._transport.underlying_transport.pause_reading()
        now = time.time_ns() // 1_000_000
        user = self.session.user
        self._reception.courier.post(send.to, f"{user}/{send.id}", user, now, bytes(send.body), self._sent)

    def _sent(self, id_: str, seq: int, why: str, retry: bool) -> None:
        """A message is stored, or isn't."""
        self._unanswered -= 1
        if self._transport is None or self.closing:
            return
        if self._unanswered == MOST_UNANSWERED // 2:
            self._transport.underlying_transport.resume_reading()
        theirs = id_.partition("/")[2]
        self._say(Accepted(theirs, seq) if seq else Rejected(theirs, why, retry))

    def _ack(self, ack: Ack) -> None:
        sent = self._mail_sent
        done = ack.e == sent.epoch and ack.n >= sent.seq
        self._mail_since = None if done else time.monotonic()
        self._reception.hub.ack(MAILBOX + self.session.user, Cursor(ack.e, ack.n))


def _drop(frames: bytes) -> None:
    """Write to a client that isn't there."""
