"""The log of a fleet in Redis Streams: every node sees the same, so that a stream goes on where its keeper died.

For each stream `{name}:log` is the Redis Stream, whose ids are `<number>-0`, `{name}:head` a hash of epoch, last and
acked, and `{name}:id:<id>` remembers an id for a while. The braces keep them on one node of a Redis Cluster. Appending
is one script: two keepers that both believe to own a stream get different numbers, and no id is stored twice.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from examples.gateway.errors import LogUnavailable
from examples.gateway.log.base import NO_ACKS, Exported, Head, Limits, LogEntry, Outcome, Slice
from examples.gateway.protocol import Cursor, is_mailbox

Call = tuple[Any, str, list[Any]]
"""A script, a stream, and the arguments of the script for it."""

_HEAD: Final = """
local head = redis.call('HMGET', KEYS[1], 'epoch', 'last', 'acked')
if not head[1] then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'last', 0, 'acked', 0)
  head = {ARGV[1], '0', '0'}
end
"""
# KEYS head, log; ARGV new epoch, mailbox limit (0: a room), room length, seconds to know ids, then id key, id, sender,
# at, body of each
_APPEND: Final = (
    _HEAD
    + """
local epoch, last, acked = head[1], tonumber(head[2]), tonumber(head[3])
local outcomes = {epoch}
for i = 5, #ARGV, 5 do
  local known = redis.call('GET', ARGV[i])
  if known then
    outcomes[#outcomes + 1] = {tonumber(known), 0}
  elseif ARGV[2] ~= '0' and last - acked >= tonumber(ARGV[2]) then
    outcomes[#outcomes + 1] = {0, 0}
  else
    last = last + 1
    redis.call('SET', ARGV[i], last, 'EX', ARGV[4])
    redis.call('XADD', KEYS[2], last .. '-0', 'id', ARGV[i+1], 'from', ARGV[i+2], 'at', ARGV[i+3], 'body', ARGV[i+4])
    outcomes[#outcomes + 1] = {last, 1}
  end
end
redis.call('HSET', KEYS[1], 'last', last)
if ARGV[2] == '0' then redis.call('XTRIM', KEYS[2], 'MAXLEN', '~', ARGV[3]) end
return outcomes
"""
)
_READ: Final = (
    _HEAD
    + """
local start = tonumber(head[3])
if ARGV[2] == head[1] and tonumber(ARGV[3]) > start then start = tonumber(ARGV[3]) end
local upto = tonumber(ARGV[4])
if upto < 0 then return {head[1], tonumber(head[2]), {}} end
if upto == 0 then upto = tonumber(head[2]) end
local found = redis.call('XRANGE', KEYS[2], (start + 1) .. '-0', upto .. '-0', 'COUNT', ARGV[5])
return {head[1], math.max(start, math.min(upto, tonumber(head[2]))), found}
"""
)
_ACK: Final = """
local head = redis.call('HMGET', KEYS[1], 'epoch', 'last', 'acked')
if head[1] ~= ARGV[1] or tonumber(ARGV[2]) <= tonumber(head[3]) then return 0 end
local acked = math.min(tonumber(ARGV[2]), tonumber(head[2]))
redis.call('HSET', KEYS[1], 'acked', acked)
return redis.call('XTRIM', KEYS[2], 'MINID', (acked + 1) .. '-0')
"""
_EXPIRE: Final = """
local gone = 0
while true do
  local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 100)
  local old = {}
  for _, entry in ipairs(first) do
    if tonumber(entry[2][6]) >= tonumber(ARGV[1]) then break end
    old[#old + 1] = entry[1]
  end
  if #old > 0 then gone = gone + redis.call('XDEL', KEYS[2], unpack(old)) end
  if #old < 100 then
    local acked = tonumber(redis.call('HGET', KEYS[1], 'last') or 0)
    if first[#old + 1] then acked = tonumber(string.match(first[#old + 1][1], '%d+')) - 1 end
    if acked > tonumber(redis.call('HGET', KEYS[1], 'acked') or 0) then redis.call('HSET', KEYS[1], 'acked', acked) end
    return gone
  end
end
"""


class RedisLog:
    """A `MessageLog` in Redis. What it survives is what the Redis does: its `appendfsync`, its replicas.

    Arguments:
        url: `redis://host:port/db`, or `rediss://` for TLS.
        prefix: What all keys start with.
        remember: Seconds for which ids are known.
        timeout: Seconds for one call.
    """

    shared = True

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "gateway:",
        remember: float = 3600,
        timeout: float = 3.0,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._prefix = prefix
        self._remember = max(1, int(remember))
        self._timeout = timeout
        # Calls are tried once: who appends asks again with the same ids, and knows when to give up.
        self._redis: Any = redis.asyncio.Redis.from_url(
            url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 0)
        )
        self._append_script = self._redis.register_script(_APPEND)
        self._read_script = self._redis.register_script(_READ)
        self._ack_script = self._redis.register_script(_ACK)
        self._expire_script = self._redis.register_script(_EXPIRE)

    async def append(self, entries: Sequence[LogEntry], acks: Mapping[str, Cursor] = NO_ACKS) -> list[Outcome]:
        """See `MessageLog`. Entries of one stream are one step; an error may leave some streams done, others not."""
        by_stream: dict[str, list[int]] = {}
        for place, entry in enumerate(entries):
            by_stream.setdefault(entry.stream, []).append(place)
        acking: list[Call] = [(self._ack_script, stream, [at.epoch, at.seq]) for stream, at in acks.items()]
        appending = [self._appending(stream, [entries[place] for place in at]) for stream, at in by_stream.items()]
        answers = (await self._all(acking + appending))[len(acking) :]
        outcomes: dict[int, Outcome] = {}
        for places, (epoch, *found) in zip(by_stream.values(), answers, strict=True):
            outcomes.update((place, Outcome(epoch.decode(), *one)) for place, one in zip(places, found, strict=True))
        return [outcomes[place] for place in range(len(entries))]

    async def heads(self, streams: Sequence[str]) -> list[Head]:
        """See `MessageLog`."""
        answers = await self._all([self._reading(stream, Cursor(), -1) for stream in streams])
        return [Cursor(epoch.decode(), int(last)) for epoch, last, _ in answers]

    async def read(self, stream: str, after: Cursor, upto: int) -> Slice:
        """See `MessageLog`."""
        [(epoch, end, found)] = await self._all([self._reading(stream, after, upto)])
        entries = [_entry(stream, *item) for item in found]
        if len(entries) == self.limits.page:
            end = entries[-1].seq
        return Slice(entries, Cursor(epoch.decode(), int(end)))

    async def streams(self) -> list[str]:
        """See `MessageLog`: what is shared is nobody's to hand over."""
        return []

    async def export(self, stream: str) -> Exported:
        """See `MessageLog`."""
        return Exported([], [])

    async def adopt(self, stream: str, entries: Sequence[LogEntry], ids: Sequence[tuple[str, int]]) -> None:
        """See `MessageLog`: a node with a log of its own that was changed to this one hands over what it has left."""
        outcomes = await self.append(entries)
        if not all(outcome.seq for outcome in outcomes):
            raise LogUnavailable(f"{stream} is full: what was handed over has to wait")

    async def forget(self, stream: str, exported: Exported) -> bool:
        """See `MessageLog`."""
        return True

    async def expire(self, before: int, ids_before: int) -> int:
        """See `MessageLog`; ids expire by themselves."""
        gone = 0
        try:
            async for key in self._redis.scan_iter(match=f"{_escaped(self._prefix)}*}}:log", count=1000):
                gone += await self._expire_script(keys=[key.removesuffix(b"log") + b"head", key], args=[before])
        except RedisError as error:
            raise LogUnavailable(f"the message log in Redis failed: {error}") from error
        return gone

    async def close(self) -> None:
        """See `MessageLog`."""
        await self._redis.aclose()

    def _appending(self, stream: str, entries: Sequence[LogEntry]) -> Call:
        mailbox = self.limits.mailbox if is_mailbox(stream) else 0
        arguments: list[Any] = [secrets.token_hex(4), mailbox, self.limits.room, self._remember]
        for entry in entries:
            arguments += [f"{self._key(stream)}:id:{entry.id}", entry.id, entry.sender, entry.at, entry.body]
        return self._append_script, stream, arguments

    def _reading(self, stream: str, after: Cursor, upto: int) -> Call:
        return self._read_script, stream, [secrets.token_hex(4), after.epoch, after.seq, upto, self.limits.page]

    async def _all(self, calls: Sequence[Call]) -> list[Any]:
        """Call scripts for many streams in one round trip. Raises `LogUnavailable`."""
        pipeline = self._redis.pipeline(transaction=False)
        for script, stream, arguments in calls:
            keys = [f"{self._key(stream)}:head", f"{self._key(stream)}:log"]
            await script(keys=keys, args=arguments, client=pipeline)
        try:
            async with asyncio.timeout(self._timeout):
                return cast("list[Any]", await pipeline.execute())
        except (RedisError, OSError, TimeoutError) as error:
            raise LogUnavailable(f"the message log in Redis failed: {error or 'no answer'}") from error

    def _key(self, stream: str) -> str:
        return f"{self._prefix}{{{stream}}}"


def _entry(stream: str, place: bytes, fields: Sequence[bytes]) -> LogEntry:
    _, id_, _, sender, _, at, _, body = fields
    return LogEntry(stream, id_.decode(), sender.decode(), int(at), body, int(place.partition(b"-")[0]))


def _escaped(prefix: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in prefix)
