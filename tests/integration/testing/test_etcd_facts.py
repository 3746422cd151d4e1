"""What etcd's JSON gateway does that clusterd is built upon: asked of each version, with a client of nobody's.

If one of these fails with a new etcd, the code that rests on it is to be looked at: docs/reliability.md says which.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from clusterd.testing import AdminError, EtcdBinary, EtcdServer
from clusterd.testing.certs import make_certificates

SOON = 5.0
A_WHILE = 0.7
KEY, END = (base64.b64encode(text).decode() for text in (b"/k/", b"/k0"))


class Messages:
    """The messages of one watch, as they come."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    async def next(self) -> dict[str, Any]:
        """Return the next one."""
        async with asyncio.timeout(SOON):
            answer: dict[str, Any] = json.loads(await self._content.readline())
            return answer.get("result", answer)

    async def silent(self) -> bool:
        """Whether nothing comes for a while, not even an end."""
        try:
            async with asyncio.timeout(A_WHILE):
                await self._content.readline()
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def watch(etcd: EtcdServer, revision: int, *, token: str = "") -> AsyncIterator[Messages]:
    request = {"create_request": {"key": KEY, "range_end": END, "start_revision": revision}}
    headers = {"Authorization": token} if token else {}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{etcd.endpoint}/v3/watch", json=request, headers=headers) as response,
    ):
        assert response.status == 200
        yield Messages(response.content)


async def test_int64_are_text_and_zeros_are_left_out(etcd: EtcdServer) -> None:
    empty = await etcd.admin.call("kv/range", {"key": KEY})
    assert isinstance(empty["header"]["revision"], str)
    assert empty.keys() == {"header"}
    async with watch(etcd, 1) as messages:
        assert "watch_id" not in await messages.next()
        await etcd.admin.put("/k/a", "1")
        (event,) = (await messages.next())["events"]
        assert "type" not in event


async def test_a_refused_watch_is_created_cancelled_and_then_silent(etcd: EtcdServer) -> None:
    await etcd.enable_auth()
    async with watch(etcd, 1, token="expired.1") as messages:
        refused = await messages.next()
        assert (refused["created"], refused["canceled"]) == (True, True)
        assert refused["cancel_reason"]
        assert await messages.silent()


async def test_a_watch_on_compacted_history_is_cancelled_without_a_reason_or_an_end(etcd: EtcdServer) -> None:
    for value in "123":
        revision = await etcd.admin.put("/k/a", value)
    await etcd.compact()
    async with watch(etcd, 1) as messages:
        assert (await messages.next())["created"]
        cancelled = await messages.next()
        assert (cancelled["canceled"], int(cancelled["compact_revision"])) == (True, revision)
        assert not cancelled.get("cancel_reason")
        assert await messages.silent()


async def test_a_watch_on_a_revision_to_come_is_created_and_silent(etcd: EtcdServer) -> None:
    async with watch(etcd, 1000) as messages:
        assert (await messages.next())["created"]
        await etcd.admin.put("/k/a", "1")
        assert await messages.silent()


async def test_a_stopped_etcd_leaves_a_watch_established_and_silent(etcd: EtcdServer) -> None:
    async with watch(etcd, 1) as messages:
        assert (await messages.next())["created"]
        etcd.pause()
        assert await messages.silent()
        etcd.resume()
        await etcd.admin.put("/k/a", "1")
        assert (await messages.next())["events"]


async def test_the_newest_revision_and_the_count_are_one_cheap_range(etcd: EtcdServer) -> None:
    await etcd.admin.put("/k/b", "1")
    await etcd.admin.put("/k/c", "1")
    revision = await etcd.admin.put("/k/a", "1")
    newest = {"sort_target": "MOD", "sort_order": "DESCEND", "limit": 1, "keys_only": True}
    answer = await etcd.admin.call("kv/range", {"key": KEY, "range_end": END, **newest})
    assert (int(answer["kvs"][0]["mod_revision"]), int(answer["count"])) == (revision, 3)


async def test_sigterm_ends_a_watch_with_an_error_and_sigkill_breaks_it(etcd: EtcdServer) -> None:
    async with watch(etcd, 1) as messages:
        await messages.next()
        await etcd.stop()
        assert "error" in await messages.next()
    await etcd.start()
    async with watch(etcd, 1) as messages:
        await messages.next()
        await etcd.kill()
        with pytest.raises((aiohttp.ClientPayloadError, json.JSONDecodeError)):
            await messages.next()


async def test_a_ttl_of_one_second_is_raised_to_two(etcd_binary: EtcdBinary) -> None:
    async with EtcdServer(binary=etcd_binary, flags=["--heartbeat-interval=100", "--election-timeout=1000"]) as etcd:
        assert (await etcd.admin.call("lease/grant", {"TTL": 1}))["TTL"] == "2"


async def test_the_keepalive_of_a_lease_that_is_gone_succeeds_without_a_ttl(etcd: EtcdServer) -> None:
    lease = await etcd.admin.lease_grant(60)
    assert (await etcd.admin.call("lease/keepalive", {"ID": lease}))["result"]["TTL"] == "60"
    await etcd.admin.lease_revoke(lease)
    assert "TTL" not in (await etcd.admin.call("lease/keepalive", {"ID": lease}))["result"]


async def test_a_full_etcd_renews_and_revokes_but_grants_nothing(etcd_binary: EtcdBinary) -> None:
    async with EtcdServer(binary=etcd_binary, quota_bytes=16 << 20) as etcd:
        lease = await etcd.admin.lease_grant(60)
        await etcd.fill()
        with pytest.raises(AdminError) as refused:
            await etcd.admin.lease_grant(60)
        assert (refused.value.status, refused.value.code) == (429, 8)
        assert (await etcd.admin.call("lease/keepalive", {"ID": lease}))["result"]["TTL"] == "60"
        await etcd.admin.lease_revoke(lease)


async def test_a_client_certificate_with_a_name_cannot_use_the_gateway_with_auth_on(
    etcd_binary: EtcdBinary, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path, client_name="root")
    async with EtcdServer(binary=etcd_binary, tls=certificates, mutual_tls=True) as etcd:
        await etcd.admin.put("/k/a", "1")
        await etcd.enable_auth()
        etcd.login_as("", "")
        with pytest.raises(AdminError) as refused:
            await etcd.admin.get("/k/a")
        assert refused.value.status == 400
