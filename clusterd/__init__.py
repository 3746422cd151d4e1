"""clusterd: an etcd-coordinated cluster node manager for real-time gateways."""

from __future__ import annotations

from clusterd.agent import Agent
from clusterd.drain import Drain, Sessions
from clusterd.election import Candidate, Election, Term
from clusterd.errors import (
    AgentStopped,
    ClusterdError,
    Deposed,
    IntentConflict,
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
from clusterd.observer import Observer
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
from clusterd.status import DrainProgress, Phase
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
    "Drain",
    "DrainProgress",
    "Election",
    "EtcdOptions",
    "IntentConflict",
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
    "Observer",
    "Phase",
    "RecordTooLarge",
    "RoundRobin",
    "Route",
    "RoutedAt",
    "Session",
    "SessionState",
    "Sessions",
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
