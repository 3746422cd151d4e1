"""Routing: which node owns a key, and other ways to choose one. Pure functions of a topology, no I/O, no clock."""

from __future__ import annotations

from clusterd.routing.forwarding import Action, RoutedAt, Verdict, judge
from clusterd.routing.hashing import SLOTS, Key, slot_of
from clusterd.routing.moves import Move, Moves
from clusterd.routing.router import Route, Router
from clusterd.routing.strategies import (
    ConsistentHashing,
    LeastSessions,
    RoundRobin,
    SmoothWeightedRoundRobin,
    Strategy,
)
from clusterd.routing.table import Share

__all__ = [
    "SLOTS",
    "Action",
    "ConsistentHashing",
    "Key",
    "LeastSessions",
    "Move",
    "Moves",
    "RoundRobin",
    "Route",
    "RoutedAt",
    "Router",
    "Share",
    "SmoothWeightedRoundRobin",
    "Strategy",
    "Verdict",
    "judge",
    "slot_of",
]
