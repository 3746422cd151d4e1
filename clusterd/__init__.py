"""clusterd: an etcd-coordinated cluster node manager for real-time gateways."""

from __future__ import annotations

from clusterd.agent import Agent
from clusterd.errors import (
    AgentStopped,
    ClusterdError,
    InvalidAddress,
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
    "InvalidNodeId",
    "Node",
    "NodeIdHeld",
    "NodeReplaced",
    "NodeState",
    "RecordTooLarge",
    "Session",
    "SessionState",
    "Topology",
    "Update",
    "UsageError",
    "WaitTimeout",
    "__version__",
]
