"""Reading what others wrote into etcd: within bounds, and with the same result on every node.

Whether a value counts as a record must not depend on the reader: two nodes that disagree on it disagree on routes. A
JSON decoder's own limit of nesting does depend on it (on the Python version, even on the depth of the stack), so the
bound here is one that every value can be held against.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

MAX_RECORD_BYTES = 16 * 1024
MAX_BRACKETS = 256

T = TypeVar("T")


class Unreadable(ValueError):
    """A value that isn't a record of the kind that was expected."""


def reader(kind: type[T]) -> Callable[[bytes], T]:
    """Return the function that decodes JSON records of this kind, or raises `Unreadable`, whatever the bytes."""
    decode = msgspec.json.Decoder(kind).decode

    def read(value: bytes) -> T:
        if len(value) > MAX_RECORD_BYTES:
            raise Unreadable(f"it has over {MAX_RECORD_BYTES} bytes")
        if value.count(b"[") + value.count(b"{") > MAX_BRACKETS:
            raise Unreadable(f"it has over {MAX_BRACKETS} opening brackets")
        try:
            return decode(value)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unreadable(str(error)) from error

    return read


def reader_or_none(kind: type[T]) -> Callable[[bytes], T | None]:
    """Return the function that decodes JSON records of this kind, or returns None, whatever the bytes."""
    read = reader(kind)

    def read_or_none(value: bytes) -> T | None:
        try:
            return read(value)
        except Unreadable:
            return None

    return read_or_none
