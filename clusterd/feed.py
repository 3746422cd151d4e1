"""Changes, handed to any number of readers that each go at their own pace."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import AsyncIterator

from clusterd.aio import Signal
from clusterd.topology import Change

DEFAULT_LIMIT = 1024


class Changes(AsyncIterator[Change]):
    """The changes since it was made, in order, until the source stops; for one reader.

    Its memory is bounded: a reader that falls `limit` changes behind gets those as one change, in which what came and
    went again meanwhile does not show, and every difference that lasted does.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._waiting: deque[Change] = deque()
        self._limit = limit
        self._signal = Signal()
        self._closed = False

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> Change:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            await self._signal.wait()
        return self._waiting.popleft()

    def push(self, change: Change) -> None:
        """Add a change for the reader to get; never waits."""
        if len(self._waiting) >= self._limit:
            change = Change.between(self._waiting[0].before, change.after)
            self._waiting.clear()
        if change:
            self._waiting.append(change)
            self._signal.fire()

    def close(self) -> None:
        """End the iteration once the reader has had what is waiting."""
        self._closed = True
        self._signal.fire()


class Feed:
    """Pushes changes to all readers that still hold their `Changes`; one that was dropped costs nothing."""

    def __init__(self) -> None:
        self._readers: weakref.WeakSet[Changes] = weakref.WeakSet()
        self._closed = False

    def subscribe(self, limit: int = DEFAULT_LIMIT) -> Changes:
        """Return a reader's changes, from this moment on."""
        changes = Changes(limit)
        if self._closed:
            changes.close()
        self._readers.add(changes)
        return changes

    def publish(self, change: Change) -> None:
        """Push a change to every reader."""
        for reader in tuple(self._readers):
            reader.push(change)

    def close(self) -> None:
        """End all iterations, also later ones."""
        self._closed = True
        for reader in tuple(self._readers):
            reader.close()
