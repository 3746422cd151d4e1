"""An etcd that tells its status only to some, as those with the fix of GHSA-q8m4-xhhv-38mg do (3.5.28 and later).

A gate before a real etcd answers that one call as they do; everything else goes through, streams too. Where such an
etcd is found on the machine, all other tests with auth run against it as well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from clusterd import Agent, EtcdOptions
from clusterd.etcd.client import Client
from clusterd.etcd.errors import LoginRefused, WrongCluster
from clusterd.testing import EtcdServer, eventually

STATUS = "/v3/maintenance/status"
NOBODY = {"error": "etcdserver: user name is empty", "code": 3, "message": "etcdserver: user name is empty"}
DENIED = {"error": "etcdserver: permission denied", "code": 7, "message": "etcdserver: permission denied"}


class Gate:
    """Passes requests on to an etcd, but the status only for who has logged in, or (`root_only`) for nobody here."""

    def __init__(self, etcd: EtcdServer, *, root_only: bool) -> None:
        self.etcd = etcd
        self.endpoint = ""
        self._root_only = root_only
        self._session: Any = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Gate]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        async with aiohttp.ClientSession() as self._session:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.endpoint = "http://%s:%d" % runner.addresses[0][:2]  # noqa: UP031 - a tuple of just these
            try:
                yield self
            finally:
                await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.path == STATUS and "Authorization" not in request.headers:
            return web.json_response(NOBODY, status=400)
        if request.path == STATUS and self._root_only:
            return web.json_response(DENIED, status=403)
        headers = {name: value for name, value in request.headers.items() if name in ("Authorization", "Content-Type")}
        url, body = self.etcd.endpoint + request.path, await request.read()
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            response = web.StreamResponse(status=answer.status)
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):  # either side has hung up
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            return response


@pytest.fixture(params=[False, True], ids=["who-logged-in", "root-only"])
async def gate(request: pytest.FixtureRequest, etcd: EtcdServer) -> AsyncIterator[Gate]:
    await etcd.enable_auth(token_ttl=5)
    await etcd.admin.add_role("agent")
    await etcd.admin.grant("agent", "/")
    await etcd.admin.add_user("agent", "pw", roles=("agent",))
    async with Gate(etcd, root_only=request.param).opened() as gate:
        yield gate


def login(gate: Gate, *more: str) -> EtcdOptions:
    return EtcdOptions((gate.endpoint, *more), user="agent", password="pw")


async def test_agents_register_and_watch_and_outlive_a_restart(gate: Gate) -> None:
    def agent(node: str) -> Agent:
        return Agent(node, "10.0.0.1:80", etcd=login(gate), ttl=2, start_timeout=10.0)

    async with agent("gw-1") as one, agent("gw-2") as two:
        await eventually(lambda: len(one.topology) == len(two.topology) == 2)
        await gate.etcd.restart()  # forgets all tokens
        revision = await asyncio.wait_for(one.update(weight=7), 20)
        await asyncio.wait_for(two.wait_for(revision), 20)
        assert two.topology.nodes["gw-1"].weight == 7


async def test_without_a_login_it_is_refused_in_a_line(gate: Gate) -> None:
    async with Client(EtcdOptions((gate.endpoint,))) as client:
        with pytest.raises(LoginRefused, match="user name is empty: etcd asks for a login"):
            await client.range(b"/nodes/")


async def test_a_token_that_expired_is_renewed_before_the_endpoint_is_known(gate: Gate) -> None:
    async with Client(login(gate)) as client:
        client.failover.tokens.token = "expired.1"
        await client.range(b"/nodes/")
        assert client.failover.tokens.logins == 1


async def test_another_cluster_is_not_written_to(gate: Gate) -> None:
    async with Client(login(gate)) as client:
        client.failover.cluster_id = 7
        with pytest.raises(WrongCluster, match="not to 7"):
            await client.failover._introduce(client.failover.transports[gate.endpoint], await token(gate))
    assert await gate.etcd.admin.get("/nodes/x") is None


async def token(gate: Gate) -> str:
    answer = await gate.etcd.admin.call("auth/authenticate", {"name": "agent", "password": "pw"})
    return str(answer["token"])
