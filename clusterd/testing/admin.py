"""A second client of etcd, for tests: what an operator, or another program, does to the keys by hand.

It speaks etcd's JSON gateway with aiohttp alone, so that a fault of clusterd's own client can't hide in it.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from clusterd.errors import ClusterdError
from clusterd.keys import range_end

_INVALID_TOKEN = "invalid auth token"  # noqa: S105 - it is etcd's message


class AdminError(ClusterdError):
    """etcd refused a call: `status` is HTTP's, `code` is gRPC's."""

    def __init__(self, path: str, status: int, code: int, message: str) -> None:
        super().__init__(f"{path}: {message} (HTTP {status}, code {code})")
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as etcd holds it."""

    key: bytes
    value: bytes
    lease: int = 0
    version: int = 0
    create_revision: int = 0
    mod_revision: int = 0


class EtcdAdmin:
    """Raw calls to one etcd. An async context manager.

    A call raises `AdminError` if etcd refuses it, `aiohttp.ClientError` if etcd can't be reached, `TimeoutError`
    after `timeout` seconds. With `user` it logs in by itself.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        user: str = "",
        password: str = "",
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 5.0,
    ) -> None:
        self.endpoint = endpoint
        self.credentials = (user, password)
        self._ssl = ssl_context
        self._timeout = timeout
        self._token = ""
        self._session: aiohttp.ClientSession | None = None

    def login_as(self, user: str, password: str) -> None:
        """Use these credentials from the next call on; an empty user stops logging in."""
        self.credentials = (user, password)
        self._token = ""

    async def call(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """POST `body` to `/v3/` + `path`, return the answer as etcd wrote it: numbers as strings, zeros left out."""
        try:
            return await self._call_with_token(path, body)
        except AdminError as error:
            if _INVALID_TOKEN not in error.message:
                raise
            self._token = ""
            return await self._call_with_token(path, body)

    async def put(self, key: str | bytes, value: str | bytes = b"", *, lease: int = 0) -> int:
        """Put a key; return the revision."""
        answer = await self.call("kv/put", {"key": _b64(key), "value": _b64(value), "lease": lease})
        return int(answer["header"]["revision"])

    async def get(self, key: str | bytes) -> KeyValue | None:
        """Return one key; None if it isn't there."""
        answer = await self.call("kv/range", {"key": _b64(key)})
        return next(map(_key_value, answer.get("kvs", ())), None)

    async def range(self, prefix: str | bytes) -> list[KeyValue]:
        """Return the keys below a prefix, in the order of the keys."""
        answer = await self.call("kv/range", _prefix(prefix))
        return [_key_value(kv) for kv in answer.get("kvs", ())]

    async def delete(self, key: str | bytes, *, prefix: bool = False) -> int:
        """Delete one key, or all below it with `prefix`; return how many there were."""
        answer = await self.call("kv/deleterange", _prefix(key) if prefix else {"key": _b64(key)})
        return int(answer.get("deleted", 0))

    async def txn(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Run a transaction given as the gateway wants it; return its answer."""
        return await self.call("kv/txn", body)

    async def revision(self) -> int:
        """Return the current revision."""
        answer = await self.call("kv/range", {"key": _b64(b"\0"), "count_only": True})
        return int(answer["header"]["revision"])

    async def compact(self, revision: int = 0) -> int:
        """Forget the history before `revision` (0: the current one), wait until it is gone; return that revision."""
        at = revision or await self.revision()
        await self.call("kv/compaction", {"revision": at, "physical": True})
        return at

    async def lease_grant(self, ttl: int) -> int:
        """Grant a lease of `ttl` seconds; return its id."""
        return int((await self.call("lease/grant", {"TTL": ttl}))["ID"])

    async def lease_revoke(self, lease: int) -> None:
        """Revoke a lease, and with it the keys that are bound to it."""
        await self.call("lease/revoke", {"ID": lease})

    async def lease_ttl(self, lease: int) -> int:
        """Return the seconds that a lease has left; -1 if it is gone."""
        return int((await self.call("lease/timetolive", {"ID": lease})).get("TTL", -1))

    async def leases(self) -> list[int]:
        """Return the ids of all leases."""
        answer = await self.call("lease/leases")
        return [int(lease["ID"]) for lease in answer.get("leases", ())]

    async def lease_keys(self, lease: int) -> list[bytes]:
        """Return the keys that are bound to a lease; none if it is gone."""
        answer = await self.call("lease/timetolive", {"ID": lease, "keys": True})
        return [base64.b64decode(key) for key in answer.get("keys", ())]

    async def status(self) -> dict[str, Any]:
        """Return what the member says of itself: version, leader, raft term, size of its data."""
        return await self.call("maintenance/status")

    async def answers(self) -> bool:
        """Return whether the member answers at all, be it with a refusal."""
        try:
            await self.status()
        except (aiohttp.ClientError, TimeoutError):
            return False
        except AdminError:
            return True
        return True

    async def alarms(self) -> list[str]:
        """Return the alarms that are raised, such as `NOSPACE`."""
        answer = await self.call("maintenance/alarm", {"action": "GET"})
        return [alarm["alarm"] for alarm in answer.get("alarms", ())]

    async def disarm(self) -> None:
        """Take all alarms back."""
        for alarm in (await self.call("maintenance/alarm", {"action": "GET"})).get("alarms", ()):
            await self.call("maintenance/alarm", {**alarm, "action": "DEACTIVATE"})

    async def defragment(self) -> None:
        """Give the space of deleted keys back to the file system; the member answers nothing meanwhile."""
        await self.call("maintenance/defragment")

    async def add_user(self, user: str, password: str, *, roles: tuple[str, ...] = ()) -> None:
        """Add a user who holds these roles."""
        await self.call("auth/user/add", {"name": user, "password": password})
        for role in roles:
            await self.call("auth/user/grant", {"user": user, "role": role})

    async def add_role(self, role: str) -> None:
        """Add a role that may do nothing yet."""
        await self.call("auth/role/add", {"name": role})

    async def grant(self, role: str, prefix: str | bytes, permission: str = "READWRITE") -> None:
        """Let a role `READ`, `WRITE` or `READWRITE` all keys below a prefix."""
        span = _prefix(prefix)
        await self.call("auth/role/grant", {"name": role, "perm": {"permType": permission, **span}})

    async def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _call_with_token(self, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        user, password = self.credentials
        if user and not self._token:
            answer = await self._post("auth/authenticate", {"name": user, "password": password})
            self._token = answer["token"]
        return await self._post(path, body or {})

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": self._token} if self._token else {}
        url = f"{self.endpoint}/v3/{path}"
        async with self._open().post(url, json=body, headers=headers, ssl=self._ssl or True) as response:
            answer = _document(await response.text())
            if response.status != 200:
                message = answer.get("message") or answer.get("error") or "refused"
                raise AdminError(path, response.status, int(answer.get("code", 2)), str(message))
            return answer

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # A connection of its own for each call: one that was kept could be to an etcd that has been restarted.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
            )
        return self._session


def _document(text: str) -> dict[str, Any]:
    """Return an answer; of a refusal in plain text, what it says."""
    try:
        answer: dict[str, Any] = json.loads(text)
    except ValueError:
        return {"message": text.strip()}
    return answer


def _b64(data: str | bytes) -> str:
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def _prefix(prefix: str | bytes) -> dict[str, str]:
    raw = prefix.encode() if isinstance(prefix, str) else prefix
    return {"key": _b64(raw or b"\0"), "range_end": _b64(range_end(raw) if raw else b"\0")}


def _key_value(answer: Mapping[str, str]) -> KeyValue:
    numbers = ("lease", "version", "create_revision", "mod_revision")
    return KeyValue(
        base64.b64decode(answer["key"]),
        base64.b64decode(answer.get("value", "")),
        *(int(answer.get(name, 0)) for name in numbers),
    )
