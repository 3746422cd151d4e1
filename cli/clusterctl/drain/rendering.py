"""Drains as tables, lines and documents: the plan, the progress, the outcome."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from clusterctl.drain.plan import Plan, zones_of
from clusterctl.drain.terms import Terms
from clusterctl.drain.tracking import Outcome, Tracker
from clusterctl.durations import humanize
from clusterctl.fleet import Entry
from clusterctl.render.fleet import STATE_STYLES
from clusterctl.render.tables import Cell, Heading, Table
from clusterctl.render.text import parse_time, plural, printable
from clusterctl.screen import now
from clusterd.drain import Intent
from clusterd.node import NodeState
from clusterd.status import DrainProgress, Phase

_WORDS = {
    Outcome.DRAINED: "drained",
    Outcome.FORCED: "drained: at the deadline its sessions were forced",
    Outcome.KEPT: "not drained: at the deadline its sessions were kept",
    Outcome.ABORTED: "not drained: aborted at the deadline",
    Outcome.WITHDRAWN: "not drained: the drain was taken back",
    Outcome.DIED: "died undrained",
}


def plan_table(plan: Plan) -> Table:
    """Return the nodes to drain as a table, in their order."""
    headings = [
        Heading("#", number=True),
        Heading("NODE"),
        Heading("STATE"),
        Heading("ZONE"),
        Heading("SESSIONS", number=True),
        Heading("LEADS"),
    ]
    rows = [_plan_row(number, entry) for number, entry in enumerate(plan.targets, 1)]
    down = [
        [Cell(str(number)), Cell(node, "bold"), Cell("down", "yellow"), Cell(""), Cell(""), Cell("")]
        for number, node in enumerate(plan.absent, len(rows) + 1)
    ]
    return Table(headings, [*rows, *down])


def plan_lines(plan: Plan, terms: Terms) -> list[str]:
    """Return what the table doesn't say: how it is to go, and what remains."""
    after, before = plan.active_after, plan.active_before
    zones = ", ".join(sorted(zone or "(no zone)" for zone in zones_of(after))) or "none"
    remain = f"remaining: {len(after)} of {plural(len(before), 'active node')}, {plan.capacity:.0%} of the capacity"
    lines = [f"pace: {pace(terms)}; deadline: {deadline(terms)}", f"{remain}; zones: {zones}"]
    lines += [f"note: {concern}" for concern in plan.concerns[len(plan.ids) > 1 :]]
    return lines + [f"note: {node} is not registered: it is drained when it comes up" for node in plan.absent]


def plan_document(plan: Plan, terms: Terms) -> dict[str, Any]:
    """Return the plan as an event shows it."""
    return {
        "nodes": [
            {
                "node": entry.node.id,
                "state": entry.node.state.value,
                "zone": entry.node.zone,
                "sessions": entry.sessions,
                "leads": None if entry.leads is None else list(entry.leads),
            }
            for entry in plan.targets
        ],
        "absent": list(plan.absent),
        "sessions": plan.sessions,
        "terms": terms.fields(),
        "active_before": len(plan.active_before),
        "active_after": len(plan.active_after),
        "capacity": round(plan.capacity, 4),
        "zones_after": sorted(zones_of(plan.active_after)),
        "emptied_zones": plan.emptied_zones,
    }


def pace(terms: Terms | Intent) -> str:
    """Return the pace in words."""
    if terms.rate is not None:
        return f"{terms.rate:g}/s"
    return f"over {humanize(terms.over)}" if terms.over is not None else "as fast as the gateway goes"


def deadline(terms: Terms) -> str:
    """Return the deadline in words."""
    return "none" if terms.deadline is None else f"in {humanize(terms.deadline)}, then {terms.on_deadline}"


def facts(tracker: Tracker) -> str:
    """Return in a few words how a drain goes: phase, sessions left, rate, time left, what blocks."""
    progress = tracker.progress
    if tracker.outcome is not None:
        return outcome_text(tracker)
    parts = [_phase(progress)]
    if progress and progress.left is not None:
        parts.append(f"{progress.left} of {progress.at_start} left")
    if progress and progress.rate:
        parts.append(f"{progress.rate:g}/s")
    if progress and progress.left and (seconds := tracker.seconds_left) is not None:
        parts.append(f"{humanize(seconds)} to go")
    if progress and progress.stalled:
        parts.append("stalled")
    if tracker.blocked_by:
        parts.append(f"waits for {tracker.blocked_by}" if _waits(progress) else tracker.blocked_by)
    return printable(", ".join(parts))


def outcome_text(tracker: Tracker) -> str:
    """Return how a drain ended, in a sentence."""
    progress, words = tracker.progress, _WORDS[tracker.outcome] if tracker.outcome else "under way"
    if progress is None:
        return words
    left = "" if not progress.left else f", {progress.left} left"
    return f"{words} ({plural(progress.moved, 'session')} moved{left})"


def progress_document(tracker: Tracker) -> dict[str, Any]:
    """Return how a drain goes as an event shows it."""
    progress = tracker.progress or DrainProgress(intent=tracker.intent.id)
    document: dict[str, Any] = {"node": tracker.node, **msgspec.to_builtins(progress)}
    seconds = tracker.seconds_left
    document["seconds_left"] = None if seconds is None else round(seconds, 1)
    document["blocked_by"] = tracker.blocked_by
    return document


def status_table(trackers: Iterable[Tracker]) -> Table:
    """Return drains and cordons as a table; ages in it are counted to this moment."""
    moment = now()
    headings = [Heading(title, whole=True) for title in ("NODE", "WANTED", "PHASE")]
    headings += [Heading(title, number=True) for title in ("LEFT", "MOVED", "RATE")]
    headings += [Heading("BY"), Heading("SINCE", whole=True), Heading("DEADLINE", whole=True)]
    headings += [Heading("REASON", note=True), Heading("BLOCKED BY", note=True)]
    return Table(headings, [_status_row(tracker, moment) for tracker in trackers])


def status_document(tracker: Tracker) -> dict[str, Any]:
    """Return a drain or a cordon as JSON and YAML show it; `progress` is null while its node published none."""
    return {
        "node": tracker.node,
        "registered": not tracker.absent,
        "intent": msgspec.to_builtins(tracker.intent),
        "progress": msgspec.to_builtins(tracker.progress) if tracker.progress else None,
        "blocked_by": tracker.blocked_by,
        "outcome": tracker.outcome.value if tracker.outcome else None,
    }


def _span_to(text: str | None, moment: datetime) -> str:
    """Return how far away an RFC 3339 time is: `2m10s ago`, `in 8m`; empty where it isn't one."""
    time = parse_time(text) if text else None
    if time is None:
        return ""
    seconds = (time - moment).total_seconds()
    return f"in {humanize(seconds)}" if seconds > 0 else f"{humanize(-seconds)} ago"


def _status_row(tracker: Tracker, moment: datetime) -> list[Cell]:
    intent, progress = tracker.intent, tracker.progress
    phase = _phase(progress) if intent.drains and not tracker.absent else ("gone" if tracker.absent else "")
    if progress and intent.drains:
        marks = [name for name in ("stalled", "forced", "kept", "aborted") if getattr(progress, name)]
        phase = ",".join([phase, *marks])
    return [
        Cell(tracker.node, "bold"),
        Cell(intent.kind.value),
        Cell(phase, _style(progress)),
        Cell("" if progress is None or progress.left is None else str(progress.left)),
        Cell("" if progress is None else str(progress.moved)),
        Cell("" if progress is None else f"{progress.rate:g}/s"),
        Cell(intent.by),
        Cell(intent.at, brief=_span_to(intent.at, moment)),
        Cell(intent.deadline or "", brief=_span_to(intent.deadline, moment)),
        Cell(intent.reason),
        Cell(tracker.blocked_by if intent.drains else ""),
    ]


def _plan_row(number: int, entry: Entry) -> list[Cell]:
    sessions = "" if entry.sessions is None else str(entry.sessions)
    node = entry.node
    state = Cell(node.state.value, STATE_STYLES[node.state])
    return [
        Cell(str(number)),
        Cell(node.id, "bold"),
        state,
        Cell(node.zone),
        Cell(sessions),
        Cell(",".join(entry.leads or ()), "bold"),
    ]


def _phase(progress: DrainProgress | None) -> str:
    return progress.phase.value if progress else "asked for"


def _style(progress: DrainProgress | None) -> str:
    known = progress is not None and progress.phase is not Phase.ABORTED
    return STATE_STYLES[NodeState(progress.phase.value)] if progress and known else ""


def _waits(progress: DrainProgress | None) -> bool:
    return progress is not None and progress.waits_for_permit
