"""Checks of the registrations themselves."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from clusterctl.doctor.findings import Finding, ok, warn
from clusterctl.doctor.patient import Patient
from clusterctl.fleet import Entry, read_fleet
from clusterctl.render.text import parse_time, plural
from clusterctl.screen import now

_MOST_NAMED = 5
_TOLERANCE = timedelta(seconds=5)


async def registrations(patient: Patient) -> list[Finding]:
    """Whether every key under `nodes/` is a node that lapses when it dies."""
    entries = (await read_fleet(patient.client, patient.settings.keyspace)).entries
    findings = []
    if lasting := [entry.node.id for entry in entries if not entry.node.lease]:
        text = f"{plural(len(lasting), 'key')} without a lease, which never lapse: {_names(lasting)}"
        findings.append(warn("nodes", text, "delete them, unless their writer deletes them when the node goes"))
    if foreign := [entry.node.id for entry in entries if entry.node.foreign]:
        text = f"{plural(len(foreign), 'key')} with a value that is not clusterd's: {_names(foreign)}"
        findings.append(warn("nodes", text, "nothing is routed to them: have these nodes run clusterd, or delete them"))
    return findings or [ok("nodes", f"{plural(len(entries), 'node')}, each with a record and a lease")]


async def wall_clocks(patient: Patient) -> list[Finding]:
    """Whether times in the records lie ahead of our clock: then ages are wrong, here or there."""
    entries = (await read_fleet(patient.client, patient.settings.keyspace)).entries
    if ahead := [entry.node.id for entry in entries if _is_ahead(entry)]:
        text = f"times in the records of {plural(len(ahead), 'node')} lie ahead of this host's clock: {_names(ahead)}"
        return [warn("clock", text, "let NTP set the clocks of this host and of those nodes")]
    return [ok("clock", "no record's time lies ahead of this host's clock")]


def _is_ahead(entry: Entry) -> bool:
    texts = (entry.node.started_at, entry.status.at if entry.status else "")
    return any(time > now() + _TOLERANCE for text in texts if (time := parse_time(text)) is not None)


def _names(ids: Iterable[str]) -> str:
    names = list(ids)
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
