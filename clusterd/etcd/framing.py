"""Newline-delimited JSON, as the gateway streams it: messages share chunks, chunks cut messages."""

from __future__ import annotations

from clusterd.etcd.errors import Unavailable

MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class LineBuffer:
    """Joins chunks into whole lines; keeps an unfinished one until its end arrives.

    aiohttp's own line reader gives up past 512 KiB, and a snapshot's worth of events in one message is more.
    """

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._limit = limit

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` completes, without their newlines and without empty ones.

        Raises `Unavailable` when a line grows over the limit: whoever sends that is not etcd.
        """
        *ends, rest = chunk.split(b"\n")
        lines = [self._completed(end) for end in ends]
        self._keep(rest)
        return [line for line in lines if line]

    def _completed(self, end: bytes) -> bytes:
        self._keep(end)
        line = b"".join(self._parts)
        self._parts, self._size = [], 0
        return line

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit:
            raise Unavailable(f"a message of the stream is longer than {self._limit} bytes: is this an etcd endpoint?")
        self._parts.append(part)
