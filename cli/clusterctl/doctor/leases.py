"""Checks that use etcd as the nodes do: a lease, a write under it, a watch that sees it."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clusterctl.doctor.findings import Finding, fail, ok, warn
from clusterctl.doctor.patient import Patient
from clusterctl.durations import milliseconds
from clusterd.etcd.lease import Lease
from clusterd.etcd.watch import Watch

_TTL = 10
_TICKS = 2
_POLL_SECONDS = 0.04
_MOST_DRIFT = 0.25  # far more than an answer that is late by chance can make up
_WRITES = 5
_SLOW_SECONDS = 0.25


async def lease_clock(patient: Patient) -> list[Finding]:
    """Whether etcd counts a lease's seconds as our monotonic clock does: every deadline rests on that."""
    async with _lease(patient) as lease:
        try:
            async with asyncio.timeout(_TTL / 2):
                ratio = await _measure_ticks(patient, lease)
        except TimeoutError:
            return [fail("lease clock", "a lease's seconds do not pass", "look at the clock of etcd's leader")]
    text = f"etcd's seconds take {ratio:.2f} of ours"
    if abs(ratio - 1) > _MOST_DRIFT:
        return [fail("lease clock", text, "see that neither this host nor etcd's leader is paused or overloaded")]
    return [ok("lease clock", text)]


async def _measure_ticks(patient: Patient, lease: Lease) -> float:
    """Return how many of our seconds one second of the lease takes, from the moments at which its TTL steps down."""
    first_left, first_seen = left, seen = await _next_tick(patient, lease)
    while first_left - left < _TICKS:
        left, seen = await _next_tick(patient, lease)
    return (seen - first_seen) / (first_left - left)


async def _next_tick(patient: Patient, lease: Lease) -> tuple[int, float]:
    before = (await patient.client.time_to_live(lease.id)).TTL
    while (left := (await patient.client.time_to_live(lease.id)).TTL) == before:  # noqa: ASYNC110 - only asking tells
        await asyncio.sleep(_POLL_SECONDS)
    return left, time.monotonic()


async def write_lag(patient: Patient) -> list[Finding]:
    """How long a write takes, and until a watch has seen it: what a change of the topology takes to get about."""
    key = patient.settings.keyspace.probe(uuid.uuid4().hex)
    async with _lease(patient) as lease:
        first = await patient.client.put(key, b"0", lease=lease.id)
        async with patient.client.watch(key, None, start_revision=first.header.revision + 1) as watch:
            try:
                lags = [await _lag(patient, watch, key, lease) for _ in range(_WRITES)]
            except TimeoutError:
                return [fail("watch", "a watch did not see a write", "look at the endpoint's load and network")]
    text = f"a write is seen by a watch after {milliseconds(statistics.median(lags))} (worst {milliseconds(max(lags))})"
    if statistics.median(lags) > _SLOW_SECONDS:
        return [warn("watch", text, "look at etcd's disk (fsync) and at the network to it")]
    return [ok("watch", text)]


async def _lag(patient: Patient, watch: Watch, key: bytes, lease: Lease) -> float:
    started = time.monotonic()
    async with asyncio.timeout(patient.settings.etcd.timeout):
        await patient.client.put(key, b"1", lease=lease.id)
        await anext(watch)
    return time.monotonic() - started


@asynccontextmanager
async def _lease(patient: Patient) -> AsyncIterator[Lease]:
    """Have a short lease; it is given back, and its keys with it."""
    lease = await Lease.grant(patient.client, _TTL)
    try:
        yield lease
    finally:
        await lease.revoke()
