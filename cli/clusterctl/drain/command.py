"""The command `drain`: shows the plan, asks where that is due, places the intents, and waits for them."""

from __future__ import annotations

import asyncio
import os
import uuid
from dataclasses import dataclass
from typing import Any

import click
import msgspec

from clusterctl.drain.operating import confirm, tell_history
from clusterctl.drain.parts import DrainCommand, complete_ids_or_part
from clusterctl.drain.plan import Plan, check_plan, make_plan
from clusterctl.drain.rendering import plan_document, plan_lines, plan_table
from clusterctl.drain.status import TIMEOUT_HELP
from clusterctl.drain.terms import Terms, parse_selection, parse_terms
from clusterctl.drain.tracking import Tracker
from clusterctl.drain.waiting import Reporter, interruptible, resume_command, wait
from clusterctl.durations import parse_duration
from clusterctl.fleet import read_fleet
from clusterctl.options import current_screen, current_settings
from clusterctl.render.text import plural, printable
from clusterctl.screen import Screen, now, say
from clusterctl.selectors import Selection
from clusterctl.settings import Settings
from clusterd import tracing
from clusterd.drain import Intent, OnDeadline, make_drain
from clusterd.drain.operator import IntentView, intent_after, list_intents, place_intents, whoami
from clusterd.errors import UsageError
from clusterd.etcd.client import Client
from clusterd.exporting import exporting


@dataclass(frozen=True, slots=True)
class Manner:
    """What becomes of the plan, and in which form that is shown."""

    timeout: float | None
    reason: str
    detach: bool
    dry_run: bool
    yes: bool
    jsonl: bool
    offline: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan with the intents that it comes to, and those that they replace."""

    plan: Plan
    intents: dict[str, Intent]
    known: dict[str, IntentView]


@click.command(cls=DrainCommand)
@click.argument("ids", metavar="[ID]...", nargs=-1, shell_complete=complete_ids_or_part)
@click.option("-l", "--label", "labels", metavar="SELECTOR", multiple=True, help="k=v, k!=v or k; all must hold.")
@click.option("--zone", metavar="ZONE", help="Nodes of this zone.")
@click.option("--all", "everything", is_flag=True, help="All nodes.")
@click.option("--rate", metavar="N/s", help="Sessions moved a second, on each node: 500/s, 30/m.")
@click.option("--over", metavar="DURATION", help="Spread the moves over this time instead.")
@click.option("--settle", metavar="DURATION", help="From leaving the slots to the first move.  [default: 10s]")
@click.option("--deadline", metavar="WHEN", help="10m, a moment (RFC 3339), or none.  [default: none]")
@click.option(
    "--on-deadline",
    type=click.Choice([each.value for each in OnDeadline]),
    help="What becomes of the sessions that are left then.  [default: keep]",
)
@click.option("--max-unavailable", metavar="N|N%", help="At most so many nodes drain at once, whoever drains them.")
@click.option("--min-active", metavar="N|N%", help="At least so many nodes must stay active.")
@click.option("--offline", is_flag=True, help="IDs may also be of nodes that are down: drained when they come up.")
@click.option("--detach", is_flag=True, help="Don't wait for the end.")
@click.option("--timeout", metavar="DURATION", help=TIMEOUT_HELP)
@click.option("-m", "--reason", metavar="WHY", default="", help="Why; others see it.")
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@click.option("-o", "--output", type=click.Choice(["text", "jsonl"]), default="text", show_default=True, help="Form.")
def drain(**flags: Any) -> int:
    """Move the sessions of nodes elsewhere, and wait until they are gone.

    `drain status` shows how drains go, `drain set` changes the terms of one that is under way.

    Shows the plan first. More than one node, a leader, or the last active node of a zone has to be confirmed, by -y
    where nobody can be asked. Ctrl-C stops waiting, not the drain.

    Exit code 0 when drained, 4 when nothing is selected, 5 when refused or not confirmed, 6 when sessions were forced
    or left at the deadline, 7 after --timeout, 8 when the drain was taken back or a node died.
    """
    selection = parse_selection(flags["ids"], flags["labels"], flags["zone"], everything=flags["everything"])
    terms, manner = parse_terms(flags, now()), _manner(flags)
    settings, screen = current_settings(), current_screen()
    draft = asyncio.run(_draft(settings, selection, terms, manner))
    _show(screen, draft.plan, terms, manner)
    if manner.dry_run:
        return 0
    if draft.plan.concerns and not manner.yes:
        _confirm(draft.plan)
    return _trace(settings, screen, draft, manner)


def _manner(flags: dict[str, Any]) -> Manner:
    if flags["offline"] and not flags["ids"]:
        raise UsageError("--offline is for IDs: a selector finds only nodes that are registered")
    if flags["detach"] and flags["timeout"] is not None:
        raise UsageError("--detach and --timeout contradict each other: who detaches doesn't wait")
    timeout = None if flags["timeout"] is None else parse_duration(flags["timeout"], "--timeout")
    return Manner(
        timeout=timeout,
        reason=flags["reason"],
        detach=flags["detach"],
        dry_run=flags["dry_run"],
        yes=flags["yes"],
        jsonl=flags["output"] == "jsonl",
        offline=flags["offline"],
    )


async def _draft(settings: Settings, selection: Selection | None, terms: Terms, manner: Manner) -> Draft:
    """Read the fleet, and work out what is to be done. Raises `UsageError`, `NothingMatched`, `Conflict`."""
    keyspace = settings.keyspace
    async with Client(settings.etcd) as client:
        fleet = await read_fleet(client, keyspace, with_leads=True)
        views = {view.node: view for view in await list_intents(client, keyspace)}
    plan = make_plan(fleet.entries, selection, offline=manner.offline)
    known = {node: views[node] for node in plan.ids if node in views}
    intents = make_intents(plan, known, terms, manner.reason)
    check_plan(plan, known, intents, terms)
    return Draft(plan, intents, known)


def make_intents(plan: Plan, known: dict[str, IntentView], terms: Terms, reason: str) -> dict[str, Intent]:
    """Return the intents of one cohort, in the order of the plan. Raises `UsageError`, `IntentConflict`."""
    common: dict[str, Any] = {"by": whoami(), "now": now(), "reason": reason, "cohort": uuid.uuid4().hex}
    intents = {
        node: make_drain(**common, cohort_size=len(plan.ids), order=order, **terms.fields())
        for order, node in enumerate(plan.ids)
    }
    return {node: intent_after(known.get(node, IntentView(node)), intent) for node, intent in intents.items()}


def _show(screen: Screen, plan: Plan, terms: Terms, manner: Manner) -> None:
    if manner.jsonl:
        Reporter(screen, (), jsonl=True).event("plan", dry_run=manner.dry_run, **plan_document(plan, terms))
        return
    screen.show(plan_table(plan))
    for line in plan_lines(plan, terms):
        screen.write(printable(line))


def _confirm(plan: Plan) -> None:
    """Ask whether that is meant. Raises `Conflict` if it isn't, or nobody can be asked."""
    question = f"Drain {', '.join(plan.ids[:10])}{'…' * (len(plan.ids) > 10)}?"
    confirm("; ".join(plan.concerns), question, yes=False)


def _trace(settings: Settings, screen: Screen, draft: Draft, manner: Manner) -> int:
    """Carry the plan out within a trace, of which the nodes' drains are a part: that of TRACEPARENT, or a new one."""
    with exporting("clusterctl", os.environ):
        span = tracing.begin("clusterctl.drain", os.environ.get("TRACEPARENT", ""), nodes=draft.plan.ids)
        replace, traceparent = msgspec.structs.replace, span.traceparent
        intents = {node: replace(intent, traceparent=traceparent) for node, intent in draft.intents.items()}
        try:
            with span.entered():
                return _carry_out(settings, screen, Draft(draft.plan, intents, draft.known), manner)
        finally:
            span.end()


def _carry_out(settings: Settings, screen: Screen, draft: Draft, manner: Manner) -> int:
    _check_in_time(draft)
    placed = _place(settings, draft, manner.reason)
    trackers = [Tracker(view.node, draft.intents[view.node]) for view in placed]
    reporter = Reporter(screen, trackers, jsonl=manner.jsonl)
    for tracker in trackers:
        reporter.event("placed", node=tracker.node, intent=tracker.intent.id, deadline=tracker.intent.deadline)
    if manner.detach:
        say(f"{plural(len(placed), 'node')} will be drained. Watch it: {resume_command(draft.plan.ids)}")
        return 0
    return wait(settings, reporter, trackers, manner.timeout)


def _check_in_time(draft: Draft) -> None:
    """Raise `UsageError` if the deadline, which counts from when the plan was made, passed before the answer came."""
    if any(intent.deadline_at and intent.deadline_at <= now() for intent in draft.intents.values()):
        raise UsageError("the deadline passed before the drain was confirmed: nothing was changed")


def _place(settings: Settings, draft: Draft, reason: str) -> list[IntentView]:
    """Place the intents, all or none. Raises `IntentConflict`, `EtcdError`, `KeyboardInterrupt`."""
    placed: list[IntentView] = []

    async def place() -> None:
        async with Client(settings.etcd) as client:
            placed.extend(await place_intents(client, settings.keyspace, draft.intents, draft.known))
            await tell_history(client, settings.keyspace, "drain", placed, reason=reason)

    with interruptible(
        lambda: f"interrupted; {'the drain goes on' if placed else 'what was asked so far is taken back'}"
    ):
        asyncio.run(place())
    return placed
