"""clusterd: an etcd-coordinated cluster node manager for real-time gateways."""

from __future__ import annotations

from clusterd.errors import ClusterdError
from clusterd.node import Node, NodeState
from clusterd.topology import Change, Topology, Update
from clusterd.version import __version__

__all__ = [
    "Change",
    "ClusterdError",
    "Node",
    "NodeState",
    "Topology",
    "Update",
    "__version__",
]
