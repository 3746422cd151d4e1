"""clusterd: an etcd-coordinated cluster node manager for real-time gateways."""

from __future__ import annotations

from clusterd.agent import Agent
from clusterd.election import Candidate, Election, Term
from clusterd.errors import (
    AgentStopped,
    ClusterdError,
    Deposed,
    InvalidAddress,
    InvalidKey,
    InvalidNodeId,
    InvalidOfficeName,
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
    "Candidate",
    "Change",
    "Changes",
    "ClusterdError",
    "ConsistentHashing",
    "Deposed",
    "Election",
    "EtcdOptions",
    "InvalidAddress",
    "InvalidKey",
    "InvalidNodeId",
    "InvalidOfficeName",
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
    "Term",
    "Topology",
    "Update",
    "UsageError",
    "Verdict",
    "WaitTimeout",
    "__version__",
    "judge",
]
