"""The other nodes as this one sees them: who keeps a stream, and the line to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clusterd import Topology
from examples.gateway.links import Line

LINK = "link"
"""The name under which a node's record has the URL for links; `CLIENTS` that for clients."""
CLIENTS = "ws"
_MOST_KNOWN: Final = 50_000


class Fleet:
    """The topology and the lines of this moment.

    `lines` has the edge's end of each line that is up, by the node at its other end; one to this node itself is among
    them. `on_line_down` are called when one goes, `on_change` when one came or the topology is another one.
    """

    def __init__(self, node: str) -> None:
        self.node = node
        self.topology = Topology({})
        self.lines: dict[str, Line] = {}
        self.on_line_down: list[Callable[[Line], None]] = []
        self.on_change: list[Callable[[], None]] = []
        self._keepers: dict[str, str] = {}

    def take(self, topology: Topology) -> None:
        """Go by this topology from now on."""
        self.topology = topology
        self._keepers.clear()
        self.changed()

    def synced(self, topology: Topology) -> bool:
        """Take note of how far the topology is known to hold; returns whether it is still the one that is gone by."""
        same = (topology.revision, topology.cluster_id) == (self.topology.revision, self.topology.cluster_id)
        if same:
            self.topology = topology
        return same

    def keeper(self, stream: str) -> str:
        """Return the id of the node that keeps a stream, empty if none may; of streams in use it is remembered."""
        keeper = self._keepers.get(stream)
        if keeper is None:
            if len(self._keepers) >= _MOST_KNOWN:
                self._keepers.clear()
            owner = self.topology.owner(stream)
            keeper = self._keepers[stream] = owner.id if owner else ""
        return keeper

    def line_to_keeper(self, stream: str) -> Line | None:
        """Return the line to the keeper of a stream; None if nobody is, or there is no line to it now."""
        return self.lines.get(self.keeper(stream))

    def lines_to_keepers(self, streams: list[str]) -> list[Line | None]:
        """Return the lines to the keepers of many streams: cheaper than one after the other."""
        return [self.lines.get(owner.id) if owner else None for owner in self.topology.owners(streams)]

    def line_up(self, line: Line) -> None:
        """Note a line that is there."""
        before, self.lines[line.peer] = self.lines.get(line.peer), line
        if before is not None and before is not line:
            before.close("there is a newer one")
            self._down(before)
        self.changed()

    def line_down(self, line: Line) -> None:
        """Note that a line is gone."""
        if self.lines.get(line.peer) is line:
            del self.lines[line.peer]
            self._down(line)

    def changed(self) -> None:
        """Tell that the topology or the lines are other ones."""
        for told in self.on_change:
            told()

    def _down(self, line: Line) -> None:
        for told in self.on_line_down:
            told(line)
