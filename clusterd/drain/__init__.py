"""Draining: moving a node's sessions elsewhere, paced, watched, survivable."""

from __future__ import annotations

from clusterd.drain.intent import Intent, IntentKind, OnDeadline, make_cordon, make_drain
from clusterd.drain.limits import Limit

__all__ = ["Intent", "IntentKind", "Limit", "OnDeadline", "make_cordon", "make_drain"]
