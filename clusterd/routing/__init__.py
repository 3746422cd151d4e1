"""Routing: which node owns a key, and other ways to choose one. Pure functions of a topology, no I/O, no clock."""

from __future__ import annotations

from clusterd.routing.hashing import SLOTS, Key, slot_of
from clusterd.routing.moves import Move, Moves
from clusterd.routing.router import Route, Router
from clusterd.routing.table import Share

__all__ = [
    "SLOTS",
    "Key",
    "Move",
    "Moves",
    "Route",
    "Router",
    "Share",
    "slot_of",
]
