"""Which nodes can serve which requests: one pool for each service, and one for all that names none."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from clusterd import Node, Topology
from examples.router.failures import Failure
from examples.router.settings import Settings

_SERVICE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,127})(/[^?]*)?(\?.*)?", re.DOTALL)


class Destination(NamedTuple):
    """Where a request goes: the service ("" for none), the target as the node gets it, and the prefix taken off."""

    service: str
    target: str
    prefix: str


def destination(target: str, services_under: str) -> Destination:
    """Return where a request for this target (path and query, as received) goes. Raises `Failure`."""
    if not target.startswith("/"):
        raise Failure(400, "not_a_path", "this is no forward proxy: ask for a path on this host")
    if not services_under or not target.startswith(services_under):
        return Destination("", target, "")
    found = _SERVICE.fullmatch(target, len(services_under))
    if found is None:
        raise Failure(404, "no_service", f"no service is named: ask for {services_under}SERVICE/…")
    service, path, query = found.groups(default="")
    return Destination(service, (path or "/") + query, services_under + service)


class Pools:
    """The topology, split by service. Pools follow it as it changes, and each routes by its own slots."""

    def __init__(self, topology: Callable[[], Topology], settings: Settings) -> None:
        self._topology = topology
        self._label = settings.service_label
        self._select = settings.select.items()
        self._seen: Topology | None = None
        self._pools: dict[str, Topology] = {}

    def of(self, service: str) -> Topology | None:
        """Return the nodes of a service, or for "" those that have none; None where there are no such nodes."""
        topology = self._topology()
        if topology is not self._seen:
            self._pools = self._split(topology)
            self._seen = topology
        return self._pools.get(service)

    def _split(self, topology: Topology) -> dict[str, Topology]:
        groups: dict[str, dict[str, Node]] = defaultdict(dict)
        for node in topology:
            if self._select <= node.labels.items():
                groups[node.labels.get(self._label, "")][node.id] = node
        # A pool that follows its last self repairs its slot table instead of working it out anew.
        return {
            service: self._pools.get(service, topology).replaced(
                nodes, topology.revision, cluster_id=topology.cluster_id, stale_since=topology.stale_since
            )
            for service, nodes in groups.items()
        }
