"""Routes as table rows and as documents."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from clusterctl.render.tables import Cell, Heading, Table
from clusterd.node import Node
from clusterd.routing import Route

_HEADINGS = (
    Heading("KEY"),
    Heading("SLOT", number=True),
    Heading("OWNER"),
    Heading("ADDRESS"),
    Heading("ZONE"),
    Heading("FALLBACKS"),
    Heading("REVISION", number=True),
)


@dataclass(frozen=True, slots=True)
class Routed:
    """A key as it can be shown, the node that owns it, those to fall back on, and what this was decided by."""

    key: str
    slot: int
    owner: Node
    fallbacks: tuple[Node, ...]
    revision: int

    @classmethod
    def of(cls, key: str, route: Route) -> Routed:
        """Return the route of a key from the command line; it has an owner. Bytes that aren't UTF-8 come escaped."""
        owner, *fallbacks = route.nodes
        shown = os.fsencode(key).decode("utf-8", "backslashreplace")
        return cls(shown, route.slot, owner, tuple(fallbacks), route.revision)


def route_document(routed: Routed) -> dict[str, Any]:
    """Return a route as JSON and YAML show it."""
    return {
        "key": routed.key,
        "slot": routed.slot,
        "owner": _brief(routed.owner),
        "fallbacks": [_brief(node) for node in routed.fallbacks],
        "revision": routed.revision,
    }


def table(routes: Iterable[Routed]) -> Table:
    """Return routes as a table."""
    return Table(_HEADINGS, [_row(routed) for routed in routes])


def _row(routed: Routed) -> list[Cell]:
    return [
        Cell(routed.key),
        Cell(str(routed.slot)),
        Cell(routed.owner.id, "bold"),
        Cell(routed.owner.address),
        Cell(routed.owner.zone),
        Cell(",".join(node.id for node in routed.fallbacks)),
        Cell(str(routed.revision)),
    ]


def _brief(node: Node) -> dict[str, str]:
    return {"id": node.id, "address": node.address, "zone": node.zone}
