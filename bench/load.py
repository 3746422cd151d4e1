"""Load on an HTTP server, with as little work of our own as can be: raw sockets, requests at a fixed rate.

python -m bench.load PORT COUNT     holds so many streams open
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.cues import say
from clusterd.sidecar.http.listeners import allow_connections

_TICK = 0.002


class Caller(asyncio.Protocol):
    """A connection that is kept alive, with one request at a time under way."""

    def __init__(self, done: Callable[[Caller, float], None]) -> None:
        self._done = done
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, request: bytes, due: float) -> None:
        """Send a request that could be sent since that monotonic time, had a connection been free."""
        assert self._transport is not None
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        assert head.startswith(b"HTTP/1.1 200 "), self._buffer
        self._buffer = b""
        self._done(self, time.monotonic() - self._due)

    def close(self) -> None:
        """Hang up."""
        assert self._transport is not None
        self._transport.close()


@dataclass
class Load:
    """Requests to one server at a rate, whether or not it keeps up; `took` has the seconds that each one took.

    Those in which a request waits for a connection to be free count too.
    """

    port: int
    requests: Sequence[bytes]
    took: list[float] = field(default_factory=list)
    _free: deque[Caller] = field(default_factory=deque)
    _waiting: deque[float] = field(default_factory=deque)
    _callers: list[Caller] = field(default_factory=list)
    _sent: int = 0

    async def run(self, rate: float, seconds: float, connections: int = 32) -> None:
        """Ask at `rate` requests a second for so many seconds, and wait for the answers."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, caller = await loop.create_connection(lambda: Caller(self._done), "127.0.0.1", self.port)
            self._callers.append(caller)
        self._free.extend(self._callers)
        began, due = time.monotonic(), 0
        while (elapsed := time.monotonic() - began) < seconds:
            while due < elapsed * rate:
                self._ask(began + elapsed)
                due += 1
            await asyncio.sleep(_TICK)
        while len(self.took) < due:  # noqa: ASYNC110 - a tick is what it takes anyway
            await asyncio.sleep(_TICK)
        for caller in self._callers:
            caller.close()

    def _ask(self, due: float) -> None:
        if not self._free:
            self._waiting.append(due)
            return
        self._sent += 1
        self._free.popleft().ask(self.requests[self._sent % len(self.requests)], due)

    def _done(self, caller: Caller, seconds: float) -> None:
        self.took.append(seconds)
        self._free.append(caller)
        if self._waiting:
            self._ask(self._waiting.popleft())


class Listener(asyncio.Protocol):
    """A client of a stream of events that reads and forgets; it counts the changes and notes when the last one came."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self.began = False
        self.changes = 0
        self.last_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.began = True
        if changes := data.count(b"event: change"):
            self.changes += changes
            self.last_at = time.monotonic()


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])


async def listen(port: int, count: int) -> None:
    """Hold so many streams open; say when all have their snapshot, and then when the last one had each change."""
    allow_connections()
    request, loop = b"GET /v1/watch HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", asyncio.get_running_loop()
    streams = [(await loop.create_connection(lambda: Listener(request), "127.0.0.1", port))[1] for _ in range(count)]
    while not all(stream.began for stream in streams):  # noqa: ASYNC110 - a thousand of them
        await asyncio.sleep(0.05)
    say("ready")
    for number in itertools.count(1):
        while any(stream.changes < number for stream in streams):  # noqa: ASYNC110 - a thousand of them
            await asyncio.sleep(0.01)
        say(max(stream.last_at for stream in streams))


if __name__ == "__main__":
    asyncio.run(listen(int(sys.argv[1]), int(sys.argv[2])))
