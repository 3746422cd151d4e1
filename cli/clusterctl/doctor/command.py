"""The command: runs the checks one after the other, and reports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import click
from click.shell_completion import CompletionItem

from clusterctl.doctor import access, leases, members, registrations, rights
from clusterctl.doctor.findings import Finding, Level, as_document, as_report, as_table, exit_code, fail, summary, warn
from clusterctl.doctor.patient import Patient, probe_all
from clusterctl.options import Command, current_screen, current_settings
from clusterctl.render import documents
from clusterctl.settings import Settings
from clusterd.etcd.client import Client
from clusterd.etcd.errors import AuthExpired, EtcdError, LoginRefused, PermissionDenied
from clusterd.rights import Role

Check = Callable[[Patient], Awaitable[list[Finding]]]

_FIRST: dict[str, Check] = {"endpoint": members.endpoints, "tls": access.tls}
_IF_REACHABLE: dict[str, Check] = {
    "cluster": members.cluster,
    "version": members.versions,
    "quorum": members.quorum,
}
_IF_QUORUM: dict[str, Check] = {
    "members": members.members,
    "alarms": members.alarms,
    "auth": access.auth,
    "credentials": access.credentials,
    "rights": rights.rights,
    "lease clock": leases.lease_clock,
    "watch": leases.write_lag,
    "nodes": registrations.registrations,
    "clock": registrations.wall_clocks,
}


@click.command(cls=Command)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Form of the output.",
)
@click.option(
    "--as",
    "part",
    metavar="ROLE",
    shell_complete=lambda *_: [CompletionItem(part) for part in rights.PARTS],
    help=f"Check the user's rights against this role: {', '.join(rights.PARTS)}.  [default: told by what it may write]",
)
def doctor(output: str, part: str | None) -> int:
    """Check etcd as the fleet uses it, and say what to do about what is wrong.

    Writes one key under a short lease, and takes both back. Exit code 0 when nothing failed, 3 when etcd can't be
    reached or has no quorum, 5 when another check failed.
    """
    settings, screen = current_settings(), current_screen()
    role = None if part is None else rights.parse_part(part, settings.keyspace)
    with screen.waiting("examining etcd …"):
        findings = asyncio.run(examine(settings, role))
    if output == "json":
        screen.write(documents.as_json(as_document(findings)))
    else:
        screen.show(as_report(findings) if screen.person else as_table(findings), summary(findings))
    return exit_code(findings)


async def examine(settings: Settings, part: Role | None = None) -> list[Finding]:
    """Return what all checks found. Those that need an etcd, or its quorum, are left out where there is none."""
    async with Client(settings.etcd) as client:
        patient = Patient(settings, client, await probe_all(settings), part)
        findings = await _run(_FIRST, patient)
        if not (patient.statuses or any(probe.refused for probe in patient.probes)):
            return [*findings, fail("quorum", "no endpoint answers", "check --endpoints, and that etcd runs")]
        findings += await _run(_IF_REACHABLE if patient.statuses else {"quorum": members.quorum}, patient)
        if any(finding.check == "quorum" and finding.level is Level.FAIL for finding in findings):
            return findings
        return findings + await _run(_IF_QUORUM, patient)


async def _run(checks: dict[str, Check], patient: Patient) -> list[Finding]:
    return [finding for name, check in checks.items() for finding in await _attempt(name, check, patient)]


async def _attempt(name: str, check: Check, patient: Patient) -> list[Finding]:
    """Run one check; one that etcd doesn't let us make is a finding of its own."""
    try:
        return await check(patient)
    except (LoginRefused, AuthExpired):
        return [warn(name, "not checked: etcd refuses the login")]
    except PermissionDenied:
        return [warn(name, "not checked: the user may not do this", "run the doctor as a user who may, such as root")]
    except EtcdError as error:
        return [fail(name, str(error))]
