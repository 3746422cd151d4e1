"""The patient: an etcd, as its endpoints describe themselves."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from clusterctl.settings import Settings
from clusterd.etcd.client import Client
from clusterd.etcd.errors import EtcdError, Refused
from clusterd.etcd.messages import StatusReply, decode_status
from clusterd.etcd.options import EtcdOptions
from clusterd.rights import Role

_PROBE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What one endpoint answered: its status after `seconds`, or an error."""

    endpoint: str
    status: StatusReply | None = None
    seconds: float = 0.0
    error: EtcdError | None = None

    @property
    def refused(self) -> bool:
        """Whether it answered that it tells its status to others only."""
        return isinstance(self.error, Refused)


@dataclass(frozen=True, slots=True)
class Patient:
    """What the checks work on: the settings, a client, and what each endpoint said.

    `part` is the role that our user is to have, None to tell it by the user's rights.
    """

    settings: Settings
    client: Client
    probes: tuple[Probe, ...]
    part: Role | None = None

    @property
    def statuses(self) -> list[StatusReply]:
        """What the members that answered say of themselves, each member once."""
        return list({probe.status.header.member_id: probe.status for probe in self.probes if probe.status}.values())


async def probe_all(settings: Settings) -> tuple[Probe, ...]:
    """Ask every endpoint, all at once, for its status."""
    return tuple(await asyncio.gather(*(_probe(settings, endpoint) for endpoint in settings.etcd.endpoints)))


async def _probe(settings: Settings, endpoint: str) -> Probe:
    """Ask one endpoint, if it answers so without a login: whether it lives must not depend on our password."""
    timeout = min(settings.etcd.timeout, _PROBE_SECONDS)
    options = replace(settings.etcd, endpoints=(endpoint,), timeout=timeout)
    probe = await _ask(replace(options, user=None, password=None))
    return await _ask(options) if probe.refused and options.user is not None else probe


async def _ask(options: EtcdOptions) -> Probe:
    (endpoint,) = options.endpoints
    try:
        async with Client(options) as client:
            await client.call("/maintenance/status", {}, decode_status)  # connects; the next one is timed
            started = time.monotonic()
            status = await client.call("/maintenance/status", {}, decode_status)
            return Probe(endpoint, status, time.monotonic() - started)
    except EtcdError as error:
        return Probe(endpoint, error=error)
