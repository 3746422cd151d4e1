"""Evictions as a stream of events: what the gateway listens to, to be told which sessions to close."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass
from itertools import count, dropwhile

from aiohttp import web

from clusterd.aio import Signal
from clusterd.sidecar.gateway import Gateway
from clusterd.sidecar.http.answers import encode
from clusterd.sidecar.http.documents import EvictionDocument
from clusterd.sidecar.http.queries import Query
from clusterd.sidecar.http.streams import Stream, Streams, event

_KEPT = 256
_MOST_WAITING = 16


class Evictions:
    """The streams of evictions. The last ones are kept, for a client whose connection broke before it read them."""

    def __init__(self, gateway: Gateway, streams: Streams) -> None:
        self._gateway = gateway
        self._streams = streams
        self._numbers = count(1)
        self._run = secrets.token_hex(3)
        self._sent: deque[_Sent] = deque(maxlen=_KEPT)

    async def listen(self, request: web.Request, _: Query) -> web.StreamResponse:
        """Stream what is to be closed, from what the client read last on. While it is open, drains move sessions."""
        listener = _Listener(self)
        async with self._streams.open(request) as stream:
            with self._gateway.attach(listener):
                await stream.send(self._missed(request.headers.get("Last-Event-ID"), listener) or b": attached\n\n")
                await _pass_on(stream, listener)
        return stream.response

    def keep(self, name: str, data: bytes, listener: _Listener) -> bytes:
        """Return an event for a listener, kept in case that it never reads it."""
        number = f"{self._run}-{next(self._numbers)}"
        kept = event(name, data, number)
        self._sent.append(_Sent(number, kept, listener))
        return kept

    def over(self, listener: _Listener) -> bytes:
        """Return the event that nothing is to be closed any more; what was missed before it counts no more."""
        self._sent.clear()
        return self.keep("over", b"{}", listener)

    def _missed(self, last: str | None, listener: _Listener) -> bytes:
        """Return what was sent after `last` to listeners that are gone; it is for this one now."""
        after = list(dropwhile(lambda sent: sent.number != last, self._sent))[1:]
        missed = [sent for sent in after if sent.listener.gone]
        for sent in missed:
            sent.listener = listener
        return b"".join(sent.data for sent in missed)


@dataclass(slots=True)
class _Sent:
    """An event that was sent, and to whom."""

    number: str
    data: bytes
    listener: _Listener


class _Listener:
    """One client that listens: a mover whose gateway is told by the stream."""

    def __init__(self, evictions: Evictions) -> None:
        self.news = Signal()
        self.gone = False
        self._evictions = evictions
        self._taken = Signal()
        self._waiting: deque[bytes] = deque()

    async def evict(self, eviction: EvictionDocument) -> None:
        """Send it, once the client has taken most of what was sent before."""
        while len(self._waiting) >= _MOST_WAITING:
            await self._taken.wait()
        self._put(self._evictions.keep("evict", encode(eviction), self))

    def over(self) -> None:
        """Say that nothing is to be closed any more, in place of what waits."""
        self._waiting.clear()
        self._put(self._evictions.over(self))

    def take(self) -> bytes:
        """Return what waits."""
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._taken.fire()
        return data

    def _put(self, data: bytes) -> None:
        self._waiting.append(data)
        self.news.fire()


async def _pass_on(stream: Stream, listener: _Listener) -> None:
    """Send what the listener is told, until the client is gone or the streams are ended."""
    try:
        while True:
            if data := listener.take():
                await stream.send(data)
            else:
                await stream.idle(listener.news)
    finally:
        listener.gone = True
