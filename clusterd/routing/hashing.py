"""Keys and node ids, hashed: xxh3 in its 64-bit form, seed 0, over UTF-8, on every machine and in every language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from clusterd.errors import InvalidKey

Key: TypeAlias = str | bytes
Slots: TypeAlias = npt.NDArray[np.int64]

SLOT_BITS = 18
SLOTS = 1 << SLOT_BITS
HASH_SHIFT = 64 - SLOT_BITS


def key_bytes(key: Key) -> bytes:
    """Return what is hashed of `key`: a str as UTF-8, bytes as they are; raise `InvalidKey` for anything else."""
    if isinstance(key, bytes):
        return key
    if not isinstance(key, str):
        raise InvalidKey(f"a key is str or bytes, not {type(key).__name__}: {key!r}")
    try:
        return key.encode()
    except UnicodeEncodeError as error:
        raise InvalidKey(f"key {key!r} has a lone surrogate, which UTF-8 can't carry: give its bytes") from error


def slot_of(key: Key) -> int:
    """Return the slot of `key`: the top `SLOT_BITS` bits of its hash. Raises `InvalidKey`."""
    try:
        data = key.encode()  # type: ignore[union-attr]  # nearly all keys are str: the others go the slower way
    except (AttributeError, UnicodeEncodeError):
        data = key_bytes(key)
    return xxh3_64_intdigest(data) >> HASH_SHIFT


def slots_of(keys: Sequence[Key]) -> Slots:
    """Return the slots of many keys, in their order. Raises `InvalidKey`."""
    try:
        hashes = map(xxh3_64_intdigest, map(str.encode, keys))  # type: ignore[arg-type]  # bytes are caught below
        found = np.fromiter(hashes, np.uint64, len(keys))
    except (TypeError, UnicodeEncodeError):
        found = np.fromiter(map(xxh3_64_intdigest, map(key_bytes, keys)), np.uint64, len(keys))
    return (found >> np.uint64(HASH_SHIFT)).astype(np.int64)
