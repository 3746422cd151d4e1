"""Holds what is for streams that another living node has yet to hand over. Pure, but for the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from clusterd import Topology

PATIENCE: Final = 5.0
"""Seconds to wait for a node that is there and hands nothing over."""


class Gate:
    """Says whether a stream has to wait, so that its old messages come before its new ones.

    After each change of the topology every other node clears itself: it says that nothing is left with it of what is
    ours by that revision. Until it has, a stream that was kept there is held, for `patience` seconds at the most.
    With a log that is `shared` nothing is ever held.
    """

    def __init__(self, node: str, *, shared: bool, patience: float = PATIENCE) -> None:
        self.on_open: Callable[[], None] = lambda: None
        self._node = node
        self._shared = shared
        self._patience = patience
        self._before = Topology({})
        self._awaited: dict[str, int] = {}
        self._deadline = 0.0

    @property
    def open(self) -> bool:
        """Whether nothing is held."""
        return not self._awaited

    def change(self, before: Topology, now: Topology, revision: int = 0) -> None:
        """Take a change of the topology, which was complete at a revision: by default that of `now`."""
        if self._shared:
            return
        if self.open:
            self._before = before
            self._deadline = time.monotonic() + self._patience
        others = self._before.nodes.keys() & now.nodes.keys() - {self._node}
        self._awaited = dict.fromkeys(others, revision or now.revision)

    def cleared(self, node_id: str, revision: int) -> None:
        """Take a node's word that it has nothing left, by the topology of that revision."""
        if self._awaited.get(node_id, revision + 1) <= revision:
            del self._awaited[node_id]
            if self.open:
                self.on_open()

    def look(self) -> None:
        """Open when it is time, or when those who are awaited are gone."""
        if self._awaited and time.monotonic() > self._deadline:
            self._awaited.clear()
            self.on_open()

    def holds(self, stream: str) -> bool:
        """Whether a stream of ours has to wait."""
        if not self._awaited:
            return False
        keeper = self._before.owner(stream)
        return keeper is not None and keeper.id in self._awaited
