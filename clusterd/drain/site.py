"""What a drain works with on its node: the parts of the agent, and the gateway's own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from clusterd.drain.evacuation import Handler, Strays
from clusterd.drain.orders import Orders
from clusterd.drain.sessions import Sessions
from clusterd.etcd.client import Client
from clusterd.etcd.ops import Op
from clusterd.history import HistoryEntry
from clusterd.keys import Keyspace
from clusterd.node import Node, NodeState
from clusterd.topology import Topology

DEFAULT_STALL_AFTER = 30.0
"""Seconds without any session moving after which a drain is called stalled."""


_MOST_ENTRIES = 100


@dataclass(slots=True, eq=False)
class Happening:
    """An entry for the history; `name` is given at the first attempt to write it, and kept for all further ones.

    `unless_since` is set where an instance before this one may have told the same: the moment since which to look.
    """

    entry: HistoryEntry
    unless_since: datetime | None = None
    name: str = ""


@dataclass(slots=True)
class Site:
    """One node, as its drains see it.

    `place_state` has the registration put another state; `placed_state` is the one that is known to be in etcd (None
    while none is), `lease` the registration's lease id (0: none), `certain` whether that is known to live: by our own
    clock, so also where nobody can be asked. `leading` says whether the node still holds, or stands for, an office;
    `handler` is the gateway's, `strays` are calls of it that ignore that they were cancelled, `stall_after` in seconds;
    `happened` is what is to be written into the history, `report` the operation that publishes the node's figures (none
    while there is no lease for it).
    """

    client: Client
    keyspace: Keyspace
    orders: Orders
    ttl: float
    node: Callable[[], Node]
    place_state: Callable[[NodeState], None]
    placed_state: Callable[[], NodeState | None]
    lease: Callable[[], int]
    topology: Callable[[], Topology]
    leading: Callable[[], bool]
    certain: Callable[[], bool] = lambda: True
    stall_after: float = DEFAULT_STALL_AFTER
    sessions: Sessions = field(default_factory=Sessions)
    handler: Callable[[], Handler | None] = lambda: None
    strays: Strays = field(default_factory=dict)
    happened: deque[Happening] = field(default_factory=lambda: deque(maxlen=_MOST_ENTRIES))
    report: Callable[[], list[Op]] = list
