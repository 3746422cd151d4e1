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
    Action,
    ConsistentHashing,
    LeastSessions,
    Move,
    Moves,
    RoundRobin,
    Route,
    RoutedAt,
    Share,
    SmoothWeightedRoundRobin,
    Strategy,
    Verdict,
    judge,
)
from clusterd.session import Session, SessionState
from clusterd.topology import Change, Topology, Update
from clusterd.version import __version__

__all__ = [
    "TLS",
    "Action",
    "Agent",
    "AgentStopped",
    "Change",
    "Changes",
    "ClusterdError",
    "ConsistentHashing",
    "EtcdOptions",
    "InvalidAddress",
    "InvalidKey",
    "InvalidNodeId",
    "LeastSessions",
    "Move",
    "Moves",
    "Node",
    "NodeIdHeld",
    "NodeReplaced",
    "NodeState",
    "RecordTooLarge",
    "RoundRobin",
    "Route",
    "RoutedAt",
    "Session",
    "SessionState",
    "Share",
    "SmoothWeightedRoundRobin",
    "Strategy",
    "Topology",
    "Update",
    "UsageError",
    "Verdict",
    "WaitTimeout",
    "__version__",
    "judge",
]
