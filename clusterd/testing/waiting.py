"""Waiting for what a distributed system does in its own time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.02


async def eventually(check: Callable[[], T | Awaitable[T]], timeout: float = 30.0, *, what: str = "") -> T:
    """Return what `check()`, which may be asynchronous, returns once that is true, asking again and again.

    Raises `AssertionError` after `timeout` seconds, saying `what` was waited for and what was seen last.
    """
    deadline = time.monotonic() + timeout
    while not (seen := await _value(check())):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or 'what was waited for'}; last seen: {seen!r}")
        await asyncio.sleep(_POLL_SECONDS)
    return seen


async def never(check: Callable[[], object], seconds: float, *, what: str = "") -> None:
    """Watch for that many seconds that `check()` stays false. Raises `AssertionError` as soon as it isn't."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = check()
        if seen:
            raise AssertionError(f"{what or 'what must not be'} was seen: {seen!r}")
        await asyncio.sleep(_POLL_SECONDS)


async def _value(seen: T | Awaitable[T]) -> T:
    return await seen if inspect.isawaitable(seen) else seen
