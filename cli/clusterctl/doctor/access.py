"""Checks of who may do what: TLS, logins, permissions."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address
from urllib.parse import urlsplit

from clusterctl.doctor.findings import Finding, fail, ok, warn
from clusterctl.doctor.patient import Patient
from clusterd.etcd.client import Client
from clusterd.etcd.errors import LoginRefused, PermissionDenied, Refused
from clusterd.etcd.options import EtcdOptions

_ENABLE_ADVICE = "`clusterctl auth apply --enable`, once all agents have a user (docs/security.md)"

# etcd's advisories GHSA-rfx7-8w68-q57q and GHSA-x35m-3gp4-4fh5: the first release of each minor version without them
_KEEPS_RIGHTS = {(3, 4): 44, (3, 5): 30, (3, 6): 11}


async def tls(patient: Patient) -> list[Finding]:
    """Whether what goes to etcd can be read or changed on the way."""
    options = patient.settings.etcd
    bare = [url for url in options.endpoints if url.startswith("http://")]
    away = [url for url in bare if not _is_local(url)]
    if away:
        return [warn("tls", f"not encrypted: {', '.join(away)}", "serve etcd over https, and give --cacert")]
    if bare:
        return [ok("tls", "not encrypted, on this host only")]
    mutual = options.tls is not None and options.tls.cert is not None
    return [ok("tls", "encrypted" + (", with a client certificate" if mutual else ""))]


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def auth(patient: Patient) -> list[Finding]:
    """Whether etcd asks who we are."""
    options = patient.settings.etcd
    if await _reads(replace(options, user=None, password=None), patient):
        unused = f"; user {options.user!r} is not needed" if options.user is not None else ""
        return [warn("auth", f"off: whoever reaches etcd can change the fleet{unused}", _ENABLE_ADVICE)]
    loose = sorted({status.version for status in patient.statuses if not keeps_rights(status.version)})
    if loose:
        text = f"on, but etcd {', '.join(loose)} lets every user past their rights (nested transactions)"
        return [warn("auth", text, "upgrade etcd to 3.4.44, 3.5.30, 3.6.11 or newer")]
    return [ok("auth", "on: nobody reads the nodes without a login")]


def keeps_rights(version: str) -> bool:
    """Whether etcd checks the rights to what stands inside of transactions."""
    major, minor, patch = (*(int(number) for number in re.findall(r"\d+", version)[:3]), 0, 0, 0)[:3]
    return patch >= _KEEPS_RIGHTS.get((major, minor), 0)


async def _reads(options: EtcdOptions, patient: Patient) -> bool:
    async with Client(options) as client:
        try:
            await client.range(patient.settings.keyspace.nodes, limit=1)
        except Refused:
            return False
    return True


async def credentials(patient: Patient) -> list[Finding]:
    """Whether we may read the nodes, which every command needs."""
    prefix, user = patient.settings.keyspace.nodes, patient.settings.etcd.user
    try:
        await patient.client.range(prefix, limit=1)
    except LoginRefused as error:
        return [fail("credentials", str(error), "give --user and --password-file as etcd knows them")]
    except PermissionDenied as error:
        grant = f"`etcdctl role grant-permission ROLE --prefix=true read {prefix.decode()}`"
        return [fail("credentials", str(error), grant)]
    return [ok("credentials", f"{prefix.decode()} can be read " + (f"as user {user!r}" if user else "without a login"))]
