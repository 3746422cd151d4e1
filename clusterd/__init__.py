"""clusterd: an etcd-coordinated cluster node manager for real-time gateways."""

from __future__ import annotations

from clusterd.agent import Agent
from clusterd.election import Candidate, Election, Term
from clusterd.errors import (
    AgentStopped,
    ClusterdError,
    Deposed,
    InvalidAddress,
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
from clusterd.session import Session, SessionState
from clusterd.topology import Change, Topology, Update
from clusterd.version import __version__

__all__ = [
    "TLS",
    "Agent",
    "AgentStopped",
    "Candidate",
    "Change",
    "Changes",
    "ClusterdError",
    "Deposed",
    "Election",
    "EtcdOptions",
    "InvalidAddress",
    "InvalidNodeId",
    "InvalidOfficeName",
    "Node",
    "NodeIdHeld",
    "NodeReplaced",
    "NodeState",
    "RecordTooLarge",
    "Session",
    "SessionState",
    "Term",
    "Topology",
    "Update",
    "UsageError",
    "WaitTimeout",
    "__version__",
]
