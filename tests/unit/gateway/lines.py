"""A line that remembers what was said on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from clusterd import Node, Topology
from examples.gateway.peering import Spoken

T = TypeVar("T")


class RecordedLine:
    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.said: list[Spoken] = []

    def send(self, message: Spoken) -> None:
        self.said.append(message)

    def close(self, why: str) -> None:
        """Nothing to close."""

    def of(self, kind: type[T]) -> list[T]:
        return [message for message in self.said if isinstance(message, kind)]


def fleet_of(*nodes: str, revision: int) -> Topology:
    return Topology.of([Node(id=node, address="10.0.0.1:1") for node in nodes], revision)


def kept_by(topology: Topology, node: str) -> Iterator[str]:
    """Iterate over mailboxes that a node keeps."""
    numbered = (f"user:u{number}" for number in range(100_000))
    return (stream for stream in numbered if (owner := topology.owner(stream)) and owner.id == node)
