"""Checks of etcd itself: endpoints, members, versions, alarms, quorum."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from clusterctl.doctor.findings import Finding, fail, ok, warn
from clusterctl.doctor.patient import Patient, Probe
from clusterctl.durations import milliseconds
from clusterctl.render.text import plural, size
from clusterd.etcd.errors import Refused, TlsFailed, Unavailable
from clusterd.etcd.messages import Member, StatusReply, decode_alarms, decode_members
from clusterd.keys import range_end

_SLOW_SECONDS = 0.2
_MOST_RAFT_LAG = 1000
_OLDEST = (3, 4)
# etcd's own post-mortem, Documentation/postmortems/v3.5-data-inconsistency.md: fixed in 3.5.3
_UNSAFE = ((3, 5, 0), (3, 5, 2))
_ALARM_ADVICE = {
    "NOSPACE": "compact and defragment etcd, or raise --quota-backend-bytes, then `etcdctl alarm disarm`",
    "CORRUPT": "compare the members with `etcdctl endpoint hashkv --cluster`, and replace the one that differs",
}
_UNREACHABLE_ADVICE = "see that etcd runs there, and that no firewall is between"


async def endpoints(patient: Patient) -> list[Finding]:
    """Each endpoint: does it answer, how fast, and who is it?"""
    return [_endpoint(probe) for probe in patient.probes]


def _endpoint(probe: Probe) -> Finding:
    if probe.refused:
        text = f"{probe.endpoint}: answers, but tells its status to others only"
        return warn(
            "endpoint", text, "give --user and --password-file; from 3.4.45, 3.5.31, 3.6.12 on any user will do"
        )
    if probe.status is None:
        advice = "check the CA file, and the names in the certificate" if isinstance(probe.error, TlsFailed) else ""
        return fail("endpoint", str(probe.error), advice or _UNREACHABLE_ADVICE)
    text = f"{probe.endpoint}: {_introduce(probe.status)}, answers in {milliseconds(probe.seconds)}"
    if not probe.status.leader:
        return fail("endpoint", f"{text}; it has no leader", "see that it reaches the other members' peer URLs")
    if probe.seconds > _SLOW_SECONDS:
        return warn("endpoint", text, "a slow answer delays renewals: look at its load, its disk and the network")
    return ok("endpoint", text)


def _introduce(status: StatusReply) -> str:
    role = "learner" if status.isLearner else "follower"
    if status.leader == status.header.member_id:
        role = "leader"
    return f"etcd {status.version}, member {status.header.member_id:x}, {role}, database {size(status.dbSize)}"


async def cluster(patient: Patient) -> list[Finding]:
    """The endpoints together: one cluster, and nobody far behind."""
    ids = sorted({status.header.cluster_id for status in patient.statuses})
    if len(ids) > 1:
        named = ", ".join(f"{cluster_id:x}" for cluster_id in ids)
        return [fail("cluster", f"the endpoints belong to {len(ids)} clusters: {named}", "give those of one cluster")]
    newest = max(status.raftIndex for status in patient.statuses)
    lag = newest - min(status.raftIndex for status in patient.statuses)
    text = f"cluster {ids[0]:x}, raft index {newest}" + (f", the last member {lag} behind" if lag else "")
    if lag > _MOST_RAFT_LAG:
        return [warn("cluster", text, "look at the load, the disk and the network of the member behind")]
    return [ok("cluster", text)]


async def members(patient: Patient) -> list[Finding]:
    """The member list: enough of them, all started, and all among our endpoints."""
    reply = await patient.client.call("/cluster/member/list", {}, decode_members)
    findings = [_size(reply.members)]
    if waiting := [f"{member.ID:x}" for member in reply.members if not member.name]:
        findings.append(warn("members", f"added but never started: {', '.join(waiting)}", "start them, or remove them"))
    answering = {status.header.member_id for status in patient.statuses}
    silent = [member for member in reply.members if member.ID not in answering and member.name]
    silent.sort(key=lambda member: member.name)
    if silent and answering:
        names = ", ".join(
            f"{member.name} ({' '.join(member.clientURLs)})"
            for member in sorted(silent, key=lambda member: member.name)
        )
        findings.append(warn("members", f"not heard of: {names}", "add their URLs to --endpoints, for failover"))
    return findings


def _size(found: Sequence[Member]) -> Finding:
    voters = sum(not member.isLearner for member in found)
    bears = (voters - 1) // 2
    text = f"{plural(voters, 'voting member')}: etcd bears the loss of {bears or 'none'}"
    if voters > 1 and voters % 2 == 0:
        return warn("members", text, "an even number bears no more than one less: add a member, or remove one")
    return ok("members", text)


async def quorum(patient: Patient) -> list[Finding]:
    """A linearizable read: etcd answers it only with a majority of its members."""
    prefix, started = patient.settings.keyspace.nodes, time.monotonic()
    try:
        await patient.client.range(prefix, range_end(prefix), limit=1, keys_only=True)
    except Refused:  # etcd reads the permissions after it has heard from the majority: that is an answer too
        return [ok("quorum", "a linearizable read is answered, with a refusal")]
    except Unavailable as error:
        return [fail("quorum", f"no linearizable read: {error}", "bring back a majority of etcd's members")]
    return [ok("quorum", f"a linearizable read takes {milliseconds(time.monotonic() - started)}")]


async def versions(patient: Patient) -> list[Finding]:
    """The members' versions: not too old, not known to be bad, and the same."""
    found = sorted({status.version for status in patient.statuses}, key=_version)
    text = ", ".join(found)
    if _version(found[0]) < _OLDEST:
        return [fail("version", f"etcd {found[0]} is too old", "upgrade etcd: clusterd needs 3.4 or newer")]
    if any(_UNSAFE[0] <= _version(version) <= _UNSAFE[1] for version in found):
        return [warn("version", f"etcd {text} can lose data after a crash", "upgrade to 3.5.3 or newer")]
    if len(found) > 1:
        return [warn("version", f"the members differ: etcd {text}", "finish the upgrade")]
    return [ok("version", f"etcd {text}")]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


async def alarms(patient: Patient) -> list[Finding]:
    """The alarms that are raised; each of them stops writes."""
    request = {"action": "GET", "alarm": "NONE"}
    raised = (await patient.client.call("/maintenance/alarm", request, decode_alarms)).alarms
    return [
        fail("alarms", f"member {alarm.memberID:x} raised {alarm.alarm}", _ALARM_ADVICE.get(alarm.alarm, ""))
        for alarm in raised
    ] or [ok("alarms", "none raised")]
