"""clusterd: an etcd-coordinated cluster node manager for real-time gateways."""

from __future__ import annotations

from clusterd.agent import Agent
from clusterd.errors import (
    AgentStopped,
    ClusterdError,
    InvalidAddress,
    InvalidKey,
    InvalidNodeId,
    NodeIdHeld,
    NodeReplaced,
    RecordTooLarge,
    UsageError,
    WaitTimeout,
)
from clusterd.etcd.options import TLS, EtcdOptions
from clusterd.feed import Changes
from clusterd.node import Node, NodeState
from clusterd.routing import (
    Move,
    Moves,
    Route,
    Share,
)
from clusterd.session import Session, SessionState
from clusterd.topology import Change, Topology, Update
from clusterd.version import __version__

__all__ = [
    "TLS",
    "Agent",
    "AgentStopped",
    "Change",
    "Changes",
    "ClusterdError",
    "EtcdOptions",
    "InvalidAddress",
    "InvalidKey",
    "InvalidNodeId",
    "Move",
    "Moves",
    "Node",
    "NodeIdHeld",
    "NodeReplaced",
    "NodeState",
    "RecordTooLarge",
    "Route",
    "Session",
    "SessionState",
    "Share",
    "Topology",
    "Update",
    "UsageError",
    "WaitTimeout",
    "__version__",
]
