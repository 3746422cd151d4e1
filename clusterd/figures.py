"""An agent's figures at one moment: what its metrics show beside the topology and the session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from clusterd.status import DrainProgress
from clusterd.topology import Change


@dataclass(frozen=True, slots=True)
class Figures:
    """What an agent has counted since it was made, and how it stands.

    `synced_revision`: up to this etcd revision everything is in the topology. `age`: seconds since the topology was
    last known to be etcd's; None before the first list. `lag`: seconds for which the topology is known to be behind
    etcd, 0 while nothing is known to be missing. `changes`: nodes `joined`, `left` and `updated`, and how often the
    topology became `stale`. `endpoint_failures`: how often each etcd endpoint failed. `leading`: the fence of each
    election that is led. `terms`: how many terms of each election were begun. `drain`: how a drain goes, if there is
    one.
    """

    synced_revision: int = 0
    age: float | None = None
    lag: float = 0.0
    changes: Mapping[str, int] = field(default_factory=dict)
    endpoint_failures: Mapping[str, int] = field(default_factory=dict)
    leading: Mapping[str, int] = field(default_factory=dict)
    terms: Mapping[str, int] = field(default_factory=dict)
    drain: DrainProgress | None = None


class ChangeCount(Counter[str]):
    """Counts what changes bring: nodes `joined`, `left` and `updated`, and how often a topology became `stale`."""

    def __init__(self) -> None:
        super().__init__(joined=0, left=0, updated=0, stale=0)

    def note(self, change: Change) -> None:
        """Count one change."""
        self["joined"] += len(change.joined)
        self["left"] += len(change.left)
        self["updated"] += len(change.updated)
        self["stale"] += change.after.stale and not change.before.stale
