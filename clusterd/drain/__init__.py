"""Draining: moving a node's sessions elsewhere, paced, watched, survivable."""

from __future__ import annotations

from clusterd.drain.controller import DrainController
from clusterd.drain.drain import Drain
from clusterd.drain.evacuation import Handler
from clusterd.drain.intent import Intent, IntentKind, OnDeadline, make_cordon, make_drain
from clusterd.drain.limits import Limit
from clusterd.drain.orders import Orders
from clusterd.drain.sessions import Sessions
from clusterd.drain.site import Site

__all__ = [
    "Drain",
    "DrainController",
    "Handler",
    "Intent",
    "IntentKind",
    "Limit",
    "OnDeadline",
    "Orders",
    "Sessions",
    "Site",
    "make_cordon",
    "make_drain",
]
