"""Nodes die, hang, stop and drain: the router's clients notice as little as can be."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from clusterd.aio import beside
from clusterd.drain import make_cordon
from clusterd.drain.operator import place_intents
from clusterd.etcd.client import Client
from clusterd.etcd.options import EtcdOptions
from clusterd.keys import Keyspace
from clusterd.testing import AgentProcess, eventually


class Load:
    """Clients that ask without end, and keep what they were answered."""

    def __init__(self, front: Any) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._front = front

    @property
    def total(self) -> int:
        return self.answers.total()

    async def ask(self, client: int) -> None:
        number = 0
        while True:
            number += 1
            try:
                status, body = await self._front.get(f"/{client}?user={client}-{number}&wait=0.01")
            except aiohttp.ClientError as error:
                self.failures.append(repr(error))
            else:
                if status == 200:
                    self.answers[body["node"]] += 1
                else:
                    self.failures.append(f"{status} {body}")

    async def more(self, count: int = 100) -> None:
        """Wait for so many further answers."""
        due = self.total + count
        await eventually(lambda: self.failures or self.total >= due, 30)
        assert not self.failures, self.failures


@contextlib.asynccontextmanager
async def loaded(front: Any, clients: int = 8) -> AsyncIterator[Load]:
    load = Load(front)
    async with contextlib.AsyncExitStack() as stack:
        for client in range(clients):
            await stack.enter_async_context(beside(load.ask(client), name=f"client {client}"))
        yield load
    assert not load.failures, load.failures


async def test_killing_nodes_under_load_fails_no_idempotent_request(front: Any) -> None:
    await front.start(3)
    async with loaded(front) as load:
        await load.more()
        for name in ("gw-2", "gw-3"):
            await front.nodes.pop(name).kill()
            await load.more()
        await front.node("gw-4")
        await eventually(lambda: load.answers["gw-4"], what="a node that joins is used")


async def test_what_is_not_idempotent_is_sent_once(front: Any) -> None:
    await front.start(2)
    owner = (await front.get("/?user=ada"))[1]["node"]
    async with asyncio.TaskGroup() as tasks:
        post = tasks.create_task(front.get("/?user=ada&wait=30", "POST", data=b"once"))
        put = tasks.create_task(front.get("/?user=ada&wait=1", "PUT", data=b"again"))
        await eventually(lambda: under_way(front, owner, 2))
        await front.nodes[owner].kill()
    assert post.result()[0] == 502
    assert post.result()[1]["error"] == "node_failed"
    other = put.result()[1]["node"]
    assert other != owner
    # Nobody listens there: this one can't have been acted on.
    assert (await front.get("/?user=ada", "POST", data=b"x"))[1]["node"] == other


async def under_way(front: Any, name: str, count: int) -> bool:
    return bool((await front.look())[name]["active"] == count)


async def test_a_rolling_restart_fails_nothing(front: Any) -> None:
    await front.start(3)
    async with loaded(front) as load, front.socket("/ws?user=ada") as socket:
        await socket.send_str("who")
        first = await socket.receive_str()
        for name in ("gw-1", "gw-2", "gw-3"):
            assert await front.nodes[name].terminate(grace=15) == 0
            await front.node(name)
            await eventually(lambda: front.sees("gw-1", "gw-2", "gw-3"))
            await load.more(30)
        closed = await socket.receive()
        assert (closed.data, closed.extra) == (1012, "drained"), first


async def test_a_node_that_hangs_is_left_when_its_lease_lapses(front: Any) -> None:
    front.ttl = "2"
    await front.start(2, "--gone", "0.1")
    owner = (await front.get("/?user=ada"))[1]["node"]
    async with front.socket("/ws?user=ada") as socket:
        front.nodes[owner].pause()
        try:
            status, body = await front.get("/?user=ada")
            assert (status, body["node"] == owner) == (200, False)
            closed = await socket.receive()
            assert (closed.data, closed.extra) == (1012, "the node has left the fleet")
        finally:
            front.nodes[owner].resume()


async def test_a_node_that_does_not_answer_in_time(front: Any) -> None:
    await front.start(1, "--answer", "0.3")
    status, body = await front.get("/?wait=30")
    assert (status, body["error"]) == (504, "node_timeout")


async def test_a_websocket_hears_that_its_node_is_lost(front: Any) -> None:
    await front.start(2)
    async with front.socket() as socket:
        await socket.send_str("who")
        await front.nodes[await socket.receive_str()].kill()
        assert (await socket.receive()).data == 1014


async def test_a_cordoned_node_keeps_its_websockets_and_gets_no_more(front: Any) -> None:
    await front.start(2)
    async with front.socket("/ws?user=ada") as socket, Client(EtcdOptions.of(front.etcd.endpoint)) as client:
        await socket.send_str("who")
        owner = await socket.receive_str()
        await place_intents(client, Keyspace(), {owner: make_cordon(by="operator", now=datetime.now(UTC))})
        await eventually(lambda: front.sees(*({"gw-1", "gw-2"} - {owner})))
        requests = (await front.look())[owner]["requests"]
        for number in range(20):
            assert (await front.get(f"/?user=ada&n={number}"))[1]["node"] != owner
        async with front.socket("/ws?user=ada") as another:
            await another.send_str("who")
            assert await another.receive_str() != owner
        assert (await front.look())[owner]["requests"] == requests
        await socket.send_str("still there")
        assert await socket.receive_str() == "still there"


async def test_it_stops_gently(front: Any) -> None:
    await front.start(1, "--grace", "6")
    async with front.socket() as socket, asyncio.TaskGroup() as tasks:
        request = tasks.create_task(front.get("/?wait=1"))
        await eventually(lambda: under_way(front, "gw-1", 2))
        ending = tasks.create_task(front.router.terminate(grace=15))
        closed = await socket.receive()
        assert (closed.data, closed.extra) == (1012, "the router stops: connect again")
        with pytest.raises(aiohttp.ClientConnectorError):
            await front.socket()
    assert request.result()[0] == 200
    assert ending.result() == 0


async def test_it_serves_on_while_etcd_is_away(front: Any) -> None:
    await front.start(2)
    await front.etcd.stop()
    async with loaded(front, clients=2) as load:
        await load.more(20)
    await front.etcd.start()


async def test_starting_says_what_is_wrong(front: Any) -> None:
    await front.start(1)
    taken = front.url.removeprefix("http://")
    for options, code, message in (
        (("--listen", taken), 2, f"router: can't listen on {taken}: .*address already in use"),
        (("--hash-by", "moon"), 2, "router: can't hash by 'moon': give user"),
    ):
        command = front.router.argv[:3]
        async with AgentProcess("--etcd", front.etcd.endpoint, *options, command=command) as process:
            await process.wait_for_line(message, timeout=30)
            assert await process.wait() == code
            assert len(process.stderr) == 1
    assert front.router.running
