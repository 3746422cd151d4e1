"""A client for Python programs: comes back by itself, and hands each message to the program once.

async with GatewayClient(["ws://gw-1:8080/ws", "ws://gw-2:8080/ws"], user="ann", rooms=["lobby"]) as client:
    await client.send("user:bob", {"text": "hello"})   # returns when it is stored
    async for message in client:
        print(message.sender, message.body)            # acked when the next one is asked for
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final, Self, TypeVar

import aiohttp
import msgspec

from clusterd.aio import Backoff, beside
from examples.gateway.errors import BadFrame, GatewayError
from examples.gateway.protocol import (
    BAD_FRAME,
    MAILBOX,
    NO_TEXT,
    NOT_UTF8,
    NOT_WEBSOCKET,
    ROOM,
    TAKEN_OVER,
    TOO_LONG,
    UNAUTHORISED,
    Accepted,
    Ack,
    Bye,
    Cursor,
    FromGateway,
    Hello,
    Here,
    Join,
    Joined,
    Leave,
    Message,
    Presence,
    Rejected,
    Send,
    Welcome,
    Who,
    check_send,
    decode_answer,
    encode,
)

log = logging.getLogger(__name__)

_CONNECT_SECONDS: Final = 3.0
_HEARTBEAT: Final = 10.0
_AGAIN_SECONDS: Final = 0.2
_WAITING: Final = 1_000
_FATAL: Final = frozenset({NOT_WEBSOCKET, NO_TEXT, NOT_UTF8, TOO_LONG, BAD_FRAME, UNAUTHORISED, TAKEN_OVER})


T = TypeVar("T")


class SendRejected(GatewayError):
    """The gateway won't store this message, now or later."""


class Closed(GatewayError):
    """The gateway won't have this client: another session of the user took over, or the token is wrong."""


class Received(msgspec.Struct, frozen=True):
    """A message for the program; `stream` is `user:<me>` or `room:<name>`, `at` in milliseconds."""

    stream: str
    sender: str
    id: str
    at: int
    body: Any


class _Item(msgspec.Struct, frozen=True):
    """What waits for the program: a message, or (None) the place of one that it has had already."""

    stream: str
    at: Cursor
    received: Received | None


class GatewayClient:
    """A session with the gateway, over as many connections as it takes; an async context manager and iterator.

    It goes to one of `urls`, or to where it is sent. What was sent and not answered is sent again with the same id;
    what comes twice is known by its id. A message counts as done with when the next one is asked for: one that the
    program died over comes again to the next client of that user.

    The iterator raises `Closed` when the gateway won't have this client any more.
    """

    def __init__(
        self, urls: Sequence[str], user: str, *, token: str = "", rooms: Iterable[str] = (), session: str = ""
    ) -> None:
        self.user = user
        self.node = ""
        self.connections = 0
        self._urls = list(urls)
        self._token = token
        self._rooms = dict.fromkeys(rooms)
        self._mailbox = MAILBOX + user
        self._cursors: dict[str, Cursor] = {}
        self._known: dict[str, OrderedDict[str, None]] = {}
        self._remember = 4_000
        self._unanswered: dict[str, tuple[Send, asyncio.Future[int]]] = {}
        self._questions: dict[str, asyncio.Future[Here]] = {}
        self._items: asyncio.Queue[_Item] = asyncio.Queue(_WAITING)
        self._presences: dict[str, Presence] = {}
        self._hints: list[str] = []
        self._within = 0.0
        self._ids = itertools.count(1)
        self._id_prefix = session or secrets.token_hex(6)
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._handed: _Item | None = None
        self._over: asyncio.Future[None] | None = None
        self._life = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._over = asyncio.get_running_loop().create_future()
        http = await self._life.enter_async_context(aiohttp.ClientSession())
        await self._life.enter_async_context(beside(self._run(http), name=f"gateway client {self.user}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._done_with(self._handed)
        await self._life.aclose()
        self._end(Closed("the client was closed"))
        assert self._over is not None  # noqa: S101 - entered
        self._over.exception()  # nobody need have looked

    async def send(self, to: str, body: Any) -> int:
        """Have a message stored, and return its number in the stream; waits for as long as that takes.

        `to` is `user:<name>` or `room:<name>`. Raises `SendRejected` where the gateway won't, `Closed`.
        """
        send = Send(f"{self._id_prefix}-{next(self._ids)}", to, msgspec.Raw(encode(body)))
        try:
            check_send(send)  # the gateway would end the session over it
        except BadFrame as error:
            raise SendRejected(str(error)) from error
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._unanswered[send.id] = (send, answer)
        try:
            await self._say(send)
            return await self._unless_over(answer)
        finally:
            self._unanswered.pop(send.id, None)

    async def join(self, room: str) -> None:
        """Be in a room from now on."""
        self._rooms[room] = None
        await self._say(Join(room))

    async def leave(self, room: str) -> None:
        """Be in a room no longer."""
        self._rooms.pop(room, None)
        self._cursors.pop(ROOM + room, None)
        await self._say(Leave(room))

    async def who(self, of: str, timeout: float = 5.0) -> Here:
        """Ask who is in a stream. Raises `TimeoutError`, `Closed`."""
        question = self._questions.get(of)
        if question is None:
            question = self._questions[of] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(timeout):
            await self._say(Who(of))
            return await self._unless_over(asyncio.shield(question))

    def in_room(self, room: str) -> bool:
        """Whether the gateway has said that this client is in the room."""
        return ROOM + room in self._cursors

    def __aiter__(self) -> AsyncIterator[Received]:
        return self

    async def __anext__(self) -> Received:
        await self._done_with(self._handed)
        self._handed = None
        while True:
            item = await self._unless_over(asyncio.ensure_future(self._items.get()))
            if item.received is not None:
                self._handed = item
                return item.received
            await self._done_with(item)

    def may_go_to(self, urls: Sequence[str]) -> None:
        """Take other nodes for the next connection."""
        self._urls = list(urls)

    async def lose_connection(self) -> None:
        """Drop the connection as a network does; for tests. It comes back."""
        if self._socket is not None and (transport := self._socket.get_extra_info("socket")) is not None:
            transport.shutdown(2)

    async def _run(self, http: aiohttp.ClientSession) -> None:
        backoff = Backoff(0.1, 3.0)
        while True:
            try:
                code = await self._connect(http, self._next_url())
            except (OSError, aiohttp.ClientError, TimeoutError, msgspec.MsgspecError) as error:
                log.debug("%s: %s", self.user, error or "no answer")
            else:
                if code in _FATAL:
                    self._end(Closed(f"{self.user}: the gateway closed the session with code {code}"))
                    return
            if self._socket is not None:
                backoff.reset()
            self._socket = None
            # Whoever is sent elsewhere comes with all the others: each in its own part of the time.
            await asyncio.sleep(random.uniform(0, self._within) if self._within else backoff.next())  # noqa: S311

    def _next_url(self) -> str:
        if self._hints:
            return self._hints.pop(0)
        self._within = 0.0
        return random.choice(self._urls)  # noqa: S311

    async def _connect(self, http: aiohttp.ClientSession, url: str) -> int | None:
        """Be connected once; returns the code with which that ended. Raises what `ws_connect` does."""
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(_CONNECT_SECONDS):
                # The name is for a router, that takes the user to where their mailbox is.
                whose = {"user": self.user}
                connecting = http.ws_connect(url, params=whose, heartbeat=_HEARTBEAT, max_msg_size=0, compress=0)
                socket = await stack.enter_async_context(connecting)
                await self._greet(socket)
            async for frame in socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    await self._hear(decode_answer(frame.data))
            return socket.close_code

    async def _greet(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Begin: say what was seen; what is unanswered is sent again, in its order."""
        await socket.send_str(encode(Hello(self.user, self._token, dict(self._cursors))).decode())
        answer = decode_answer(await socket.receive_str())
        if not isinstance(answer, Welcome):
            raise aiohttp.ClientError(f"a welcome was expected, not {answer!r}")
        self.node, self._remember = answer.node, answer.remember
        self.connections += 1
        self._hints, self._within, self._socket = [], 0.0, socket
        for room in self._rooms:
            if ROOM + room not in self._cursors:
                await self._say(Join(room))
        for send, _ in tuple(self._unanswered.values()):
            await self._say(send)

    async def _hear(self, message: FromGateway) -> None:
        match message:
            case Message():
                await self._take(message)
            case Accepted():
                self._answer(message.id, message.n)
            case Rejected():
                self._rejected(message)
            case Joined():
                self._cursors.setdefault(ROOM + message.room, Cursor(message.e, message.n))
            case Here():
                if question := self._questions.pop(message.of, None):
                    question.set_result(message)
            case Bye():
                self._hints, self._within = list(message.to), message.within
            case Presence():
                self._presences[message.room] = message

    async def _take(self, message: Message) -> None:
        at = Cursor(message.e, message.n)
        known = self._known.setdefault(message.on, OrderedDict())
        received = None
        if message.id not in known:
            known[message.id] = None
            received = _received(message)
        while len(known) > self._remember:
            known.popitem(last=False)
        if message.on != self._mailbox:
            self._cursors[message.on] = at
        await self._items.put(_Item(message.on, at, received))

    def _answer(self, id_: str, number: int) -> None:
        _, answer = self._unanswered.get(id_, (None, None))
        if answer is not None and not answer.done():
            answer.set_result(number)

    def _rejected(self, message: Rejected) -> None:
        send, answer = self._unanswered.get(message.id, (None, None))
        if send is None or answer is None or answer.done():
            return
        if message.retry:
            asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._send_again, send.id)
        else:
            answer.set_exception(SendRejected(message.why))

    def _send_again(self, id_: str) -> None:
        if id_ in self._unanswered and self._socket is not None and not self._socket.closed:
            send, _ = self._unanswered[id_]
            task = asyncio.ensure_future(self._say(send))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _done_with(self, item: _Item | None) -> None:
        """Ack a message of the mailbox: where it resumes from now on."""
        if item is not None and item.stream == self._mailbox:
            self._cursors[item.stream] = item.at
            await self._say(Ack(item.at.epoch, item.at.seq))

    async def _say(self, message: object) -> None:
        """Say something if there is a connection; if not, it is made good when there is one."""
        if self._socket is not None and not self._socket.closed:
            with contextlib.suppress(OSError, aiohttp.ClientError):
                await self._socket.send_str(encode(message).decode())

    async def _unless_over(self, awaited: asyncio.Future[T]) -> T:
        """Return what is awaited. Raises `Closed` if the session ends first."""
        assert self._over is not None  # noqa: S101 - entered
        try:
            await asyncio.wait((awaited, self._over), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            awaited.cancel()
            raise
        if not awaited.done():
            awaited.cancel()
            self._over.result()
        return awaited.result()

    def _end(self, error: Closed) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_exception(error)


def _received(message: Message) -> Received | None:
    """Return a message for the program; None for one that no program can have here: a number past all bounds, say."""
    try:
        body = msgspec.json.decode(message.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        log.warning("%s %s is passed over: %s", message.on, message.id, error)
        return None
    return Received(message.on, message.sender, message.id, message.at, body)
