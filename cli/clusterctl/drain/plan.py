"""What a drain would do to the fleet: worked out, and shown, before anything is changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clusterctl.drain.terms import Terms
from clusterctl.fleet import Entry
from clusterctl.render.text import plural
from clusterctl.selectors import Selection
from clusterd.drain import Limit
from clusterd.drain.intent import Intent
from clusterd.drain.operator import IntentView, intent_after
from clusterd.errors import Conflict, NothingMatched
from clusterd.node import NodeState


@dataclass(frozen=True, slots=True)
class Plan:
    """The nodes to drain, in the order of their ids, and all others; foreign nodes are in neither.

    `absent` are ids to drain that aren't registered: they come last.
    """

    targets: tuple[Entry, ...]
    others: tuple[Entry, ...]
    absent: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the nodes to drain, in the order in which they get their permits."""
        return (*(entry.node.id for entry in self.targets), *self.absent)

    @property
    def active_before(self) -> tuple[Entry, ...]:
        """The nodes that own slots now."""
        return _active((*self.targets, *self.others))

    @property
    def active_after(self) -> tuple[Entry, ...]:
        """The nodes that own slots once all targets are cordoned."""
        return _active(self.others)

    @property
    def capacity(self) -> float:
        """Which part of the weight stays in the slots, 0 to 1; 1 if there was none."""
        before = sum(entry.node.weight for entry in self.active_before)
        return sum(entry.node.weight for entry in self.active_after) / before if before else 1.0

    @property
    def sessions(self) -> int | None:
        """How many sessions are to move; None if none of the nodes counts."""
        counted = [entry.sessions for entry in self.targets if entry.sessions is not None]
        return sum(counted) if counted else None

    @property
    def leaders(self) -> dict[str, tuple[str, ...]]:
        """What those of the targets lead that lead something."""
        return {entry.node.id: entry.leads for entry in self.targets if entry.leads}

    @property
    def emptied_zones(self) -> list[str]:
        """The zones in which no node would be active any more."""
        return sorted(zones_of(self.active_before) - zones_of(self.active_after))

    @property
    def concerns(self) -> list[str]:
        """What a person should say yes to first."""
        found = [] if len(self.ids) == 1 else [plural(len(self.ids), "node")]
        found += [f"{node} leads {', '.join(names)}" for node, names in self.leaders.items()]
        found += [f"no active node would remain in {zone_name(zone)}" for zone in self.emptied_zones]
        return found


def make_plan(entries: Iterable[Entry], selection: Selection | None, *, offline: bool = False) -> Plan:
    """Return the plan to drain what is selected (None: everything); ids that aren't registered only if `offline`.

    Raises `NothingMatched`, `Conflict`.
    """
    fleet = tuple(entries)
    missing = tuple(selection.missing(fleet)) if selection else ()
    if missing and not offline:
        raise NothingMatched(not_there(missing))
    chosen = [entry for entry in fleet if selection is None or selection.matches(entry.node)]
    foreign = [entry.node.id for entry in chosen if entry.node.foreign]
    if foreign and selection and selection.ids:
        raise Conflict(f"node {', '.join(foreign)} is foreign: it has no agent that could drain it")
    targets = tuple(entry for entry in chosen if not entry.node.foreign)
    if not (targets or missing):
        raise NothingMatched(f"none of {plural(len(fleet), 'node')} is selected; nothing was changed")
    others = tuple(entry for entry in fleet if entry not in targets and not entry.node.foreign)
    return Plan(targets, others, missing)


def not_there(missing: Iterable[str]) -> str:
    """Return what to say of ids that no node has."""
    return f"no node {', '.join(missing)}; nothing was changed. One that is down can be asked too, with --offline"


def check_plan(plan: Plan, views: Mapping[str, IntentView], intents: Mapping[str, Intent], terms: Terms) -> None:
    """Raise `Conflict` for a drain that collides with another, or that its own guard would never let begin."""
    for node, intent in intents.items():
        if node in views:
            intent_after(views[node], intent)
    if terms.min_active is not None:
        check_active(len(plan.active_after), len(plan.targets) + len(plan.others), terms.min_active)


def check_active(remain: int, nodes: int, min_active: str) -> None:
    """Raise `Conflict` if fewer nodes would remain active, of so many, than must: no session would ever move."""
    wanted = Limit.parse(min_active, "--min-active").at_least(nodes)
    if remain < wanted:
        raise Conflict(
            f"{plural(remain, 'active node')} would remain of the {wanted} that --min-active wants: "
            "lower it, drain fewer nodes, or have others active first; nothing was changed"
        )


def zones_of(entries: Iterable[Entry]) -> set[str]:
    """Return the zones in which these nodes are."""
    return {entry.node.zone for entry in entries}


def zone_name(zone: str) -> str:
    """Return how a zone is called in a sentence."""
    return f"zone {zone}" if zone else "the fleet's part without a zone"


def _active(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if entry.node.state is NodeState.ACTIVE)
