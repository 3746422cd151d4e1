"""The pieces of requests: ranges, and the compares and operations of transactions."""

from __future__ import annotations

from typing import Any

Compare = dict[str, Any]
Op = dict[str, Any]


def mod_revision_is(key: bytes, revision: int) -> Compare:
    """Holds while `key` was last written at `revision`; 0 means that it must not exist."""
    return {"target": "MOD", "result": "EQUAL", "key": key, "mod_revision": revision}


def create_revision_is(key: bytes, revision: int) -> Compare:
    """Holds while `key` is the one created at `revision`; 0 means that it must not exist."""
    return {"target": "CREATE", "result": "EQUAL", "key": key, "create_revision": revision}


def unchanged_since(prefix_key: bytes, range_end: bytes, revision: int) -> Compare:
    """Holds while no key of a range was written after `revision`; deletes don't matter."""
    written_before = {"target": "MOD", "result": "LESS", "mod_revision": revision + 1}
    return {**written_before, "key": prefix_key, "range_end": range_end}


def put(key: bytes, value: bytes, *, lease: int = 0) -> Op:
    """Write `key`; without `lease` an older binding of the key is lost."""
    return {"request_put": {"key": key, "value": value, "lease": lease}}


def txn(compare: list[Compare], success: list[Op], failure: list[Op]) -> Op:
    """A transaction as one operation of another."""
    return {"request_txn": {"compare": compare, "success": success, "failure": failure}}


def get(key: bytes, range_end: bytes | None = None, **options: Any) -> Op:
    """Read a key or a range."""
    return {"request_range": range_request(key, range_end, **options)}


def delete(key: bytes) -> Op:
    """Delete `key`."""
    return {"request_delete_range": {"key": key}}


def range_request(key: bytes, range_end: bytes | None = None, **options: Any) -> dict[str, Any]:
    """The body of a range; `options` are etcd's own (limit, keys_only, serializable, sort_order, ...)."""
    return {"key": key, **({"range_end": range_end} if range_end else {}), **options}
