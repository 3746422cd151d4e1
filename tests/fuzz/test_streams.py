"""A watch's stream, cut anywhere and broken in any way: the same events come out, or an error that says so."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.etcd.errors import Compacted, EtcdError, PermissionDenied, Unavailable
from clusterd.etcd.watch import Watch
from tests.fuzz.profiles import fuzzed


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def message(**result: Any) -> bytes:
    header = {
        "cluster_id": "14841639068965178418",
        "member_id": "10276657743932975437",
        "revision": "7",
        "raft_term": "2",
    }
    return json.dumps({"result": {"header": header, **result}}).encode() + b"\n"


def events(*keys: str) -> dict[str, Any]:
    puts = [{"kv": {"key": b64(key), "value": b64("wéird\n"), "mod_revision": "8", "version": "1"}} for key in keys]
    return {"events": [*puts, {"type": "DELETE", "kv": {"key": b64("gone"), "mod_revision": "8"}}]}


STREAM = b"".join(
    (
        message(created=True),
        message(**events("a", "b")),
        b"\n",  # some gateways send one to keep a connection alive
        message(),
        message(**events("c")),
        message(canceled=True, compact_revision="57"),
    )
)
EXPECTED = [["a", "b", "gone"], ["c", "gone"]]


class Chunks:
    """The body of a stream in these chunks, then its end."""

    endpoint = "http://e:2379"

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = iter(chunks)

    async def read(self) -> bytes:
        try:
            return next(chunk for chunk in self._chunks if chunk)
        except StopIteration:
            raise Unavailable("etcd ended the stream") from None

    def close(self) -> None:
        pass


class Nobody:
    """Who hears that an endpoint failed."""

    def failed(self, endpoint: str) -> None:
        pass


def read(chunks: Sequence[bytes]) -> tuple[list[list[str]], EtcdError]:
    """Return the batches of keys that a watch delivers, and what it ends with."""

    async def all_of_it() -> EtcdError:
        watch = Watch(Nobody(), Chunks(chunks))  # type: ignore[arg-type]
        try:
            await watch.opened()
            async for batch in watch:
                batches.append([event.kv.key.decode(errors="replace") for event in batch])  # noqa: PERF401 - until it ends
        except EtcdError as error:
            return error
        raise AssertionError("a watch ends by raising only")

    batches: list[list[str]] = []
    return batches, asyncio.run(all_of_it())


def test_wherever_the_stream_is_cut_in_two() -> None:
    for at in range(len(STREAM) + 1):
        batches, end = read([STREAM[:at], STREAM[at:]])
        assert batches == EXPECTED
        assert isinstance(end, Compacted)


def test_byte_by_byte() -> None:
    assert read([STREAM[at : at + 1] for at in range(len(STREAM))])[0] == EXPECTED


def test_wherever_the_stream_ends() -> None:
    whole = len(STREAM) - 1  # without its last newline the last message isn't one yet
    for at in range(whole):
        batches, end = read([STREAM[:at]])
        assert batches == EXPECTED[: len(batches)]
        assert isinstance(end, Unavailable)


@fuzzed(60)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_in_any_chunks(cuts: list[int]) -> None:
    points = [0, *sorted(cuts), len(STREAM)]
    batches, end = read([STREAM[start:stop] for start, stop in pairwise(points)])
    assert [key for batch in batches for key in batch] == [key for batch in EXPECTED for key in batch]
    assert isinstance(end, Compacted)


@fuzzed(150)
@given(st.lists(st.tuples(st.integers(0, len(STREAM) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_with_any_bytes_changed(changes: list[tuple[int, int]]) -> None:
    broken = bytearray(STREAM)
    for at, byte in changes:
        broken[at] = byte
    _, end = read([bytes(broken)])
    assert len(str(end)) < 2000


@fuzzed(100)
@given(st.lists(st.binary(max_size=30) | st.just(b"\n") | st.just(message(created=True)), max_size=6))
def test_with_anything_in_it(chunks: list[bytes]) -> None:
    read(chunks)


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * 1_000_000,
        b'{"result":' * 100_000,
        b'{"result":{"events":' + b"[" * 100_000,
        b'"' + b"\\u0000" * 100_000 + b'"',
    ],
)
def test_with_a_bomb_in_it(bomb: bytes) -> None:
    batches, end = read([message(created=True) + bomb + b"\n"])
    assert (batches, type(end)) == ([], Unavailable)
    assert len(str(end)) < 2000


def test_what_the_reason_for_cancelling_says_at_length_is_cut() -> None:
    reason = "etcdserver: permission denied " + "x" * 1_000_000
    _, end = read([message(created=True, canceled=True, watch_id="-1", cancel_reason=reason)])
    assert isinstance(end, PermissionDenied)
    assert len(str(end)) < 2000
