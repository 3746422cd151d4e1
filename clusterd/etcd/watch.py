"""One watch stream: from one revision, over one range, on one endpoint, until something ends it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from clusterd.etcd.errors import AuthExpired, Compacted, PermissionDenied, Unavailable, classify
from clusterd.etcd.failover import Failover
from clusterd.etcd.framing import LineBuffer
from clusterd.etcd.messages import Event, WatchReply, decode_watch
from clusterd.etcd.transport import Stream, Transport

_RPC = "/watch"
_FAR_BEHIND = 8  # messages


class Watch:
    """An open watch: iterate over it to get batches of events, each batch whole and in the order of revisions.

    A reader that falls far behind gets what is waiting as one batch: it has less to do for each event, and catches up.

    It ends by raising only: `Compacted`, `Unavailable` (the stream broke or ended), or what etcd gave as its reason
    for cancelling. A watch can also be dead without a sign (a dropped network, a stopped etcd): whoever depends on it
    compares from time to time what it saw with what etcd has.
    """

    def __init__(self, failover: Failover, stream: Stream) -> None:
        self.endpoint = stream.endpoint
        self.revision = 0
        self._failover = failover
        self._stream = stream
        self._lines = LineBuffer()
        self._replies: deque[WatchReply] = deque()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> tuple[Event, ...]:
        while True:
            try:
                reply = await self._next()
            except Unavailable:
                self._failover.failed(self.endpoint)
                raise
            events = reply.events if len(self._replies) < _FAR_BEHIND else (*reply.events, *self._waiting())
            if events:
                return events

    async def opened(self) -> None:
        """Wait for etcd's word that the watch exists; raises what etcd says if it was refused."""
        while not (reply := await self._next()).created:
            pass
        self.revision = reply.header.revision

    def close(self) -> None:
        """End the stream and its connection."""
        self._stream.close()

    async def _next(self) -> WatchReply:
        while not self._replies:
            for line in self._lines.feed(await self._stream.read()):
                self._replies.append(self._decode(line))
        reply = self._replies.popleft()
        self._raise_if_canceled(reply)
        return reply

    def _waiting(self) -> Iterator[Event]:
        while self._replies and not self._replies[0].canceled:
            yield from self._replies.popleft().events

    def _decode(self, line: bytes) -> WatchReply:
        message = decode_watch(line, self.endpoint)
        if message.result is not None:
            return message.result
        if message.error is None:
            raise Unavailable(f"{self.endpoint}{_RPC}: a message with neither result nor error")
        error = message.error
        raise classify(
            error.message or error.error,
            error.code or error.grpc_code,
            error.http_code,
            where=f"{self.endpoint}{_RPC}",
        )

    def _raise_if_canceled(self, reply: WatchReply) -> None:
        if not reply.canceled:
            return
        if reply.compact_revision:
            raise Compacted(f"{self.endpoint}: history before revision {reply.compact_revision} is compacted")
        if not reply.cancel_reason:
            raise Unavailable(f"{self.endpoint}: etcd cancelled the watch without a reason")
        raise classify(reply.cancel_reason, 0, 200, where=f"{self.endpoint}{_RPC}")


async def open_watch(failover: Failover, range_: dict[str, Any], start_revision: int, seconds: float) -> Watch:
    """Return a watch that etcd has confirmed, on the first endpoint that gives one within `seconds`."""
    request = {"create_request": {**range_, "start_revision": start_revision}}
    denied: set[str | None] = set()

    async def attempt(transport: Transport, token: str | None) -> Watch:
        watch = Watch(failover, await transport.stream(_RPC, request, token))
        try:
            await watch.opened()
        except PermissionDenied as error:
            watch.close()
            if failover.tokens.enabled and not denied:
                # etcd 3.4 says so of an expired token too: one login finds out which it was.
                denied.add(token)
                raise AuthExpired(str(error)) from error
            raise
        except BaseException:
            watch.close()
            raise
        return watch

    return await failover.run(attempt, seconds, rpc=_RPC)
