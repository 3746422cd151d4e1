"""Clients that are slow, dead or too many cost the others nothing: a control listener on a fleet that is made up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from clusterd import Agent, Node, Topology
from clusterd.feed import Changes, Feed
from clusterd.sidecar.gateway import Gateway
from clusterd.sidecar.http import journal, listeners, operations, streams
from clusterd.sidecar.http.addresses import ListenAddress
from clusterd.sidecar.http.control import Control
from clusterd.sidecar.http.guard import Guard
from clusterd.sidecar.http.listeners import serving
from clusterd.testing import eventually
from clusterd.topology import Change

PADDING = {"padding": "x" * 8000}


class Fleet(Agent):
    """An agent whose topology is what the test says."""

    def __init__(self) -> None:
        super().__init__("gw-1", "h:1")
        self.session.began = True
        self.now = Topology.of([Node(id="gw-1", address="h:1")], 1)
        self.feed = Feed()

    @property
    def topology(self) -> Topology:
        return self.now

    def changes(self) -> Changes:
        return self.feed.subscribe()

    def change(self, **fields: Any) -> None:
        """Change the one node that there is."""
        after = Topology.of([Node(id="gw-1", address="h:1", **fields)], self.now.revision + 1)
        change, self.now = Change.between(self.now, after), after
        self.feed.publish(change)


class Listening:
    """The control listener of a fleet."""

    def __init__(self, fleet: Fleet, control: Control, port: int, client: Any) -> None:
        self.fleet = fleet
        self.control = control
        self.client = client
        self.port = port

    async def connect(self, request: bytes, *, buffer: int | None = None) -> socket.socket:
        """Send something by a bare socket."""
        sock = socket.socket()
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        await asyncio.get_running_loop().sock_sendall(sock, request)
        return sock


@asynccontextmanager
async def listening(client_of: Any) -> AsyncIterator[Listening]:
    fleet = Fleet()
    control = Control(fleet, Gateway(fleet), 10)
    address = ListenAddress("control", "127.0.0.1", 0)
    following = asyncio.create_task(control.fleet.follow(), name="journal")
    async with serving(control.app(Guard(address, None)), address) as url:
        client = client_of(url)
        yield Listening(fleet, control, int(url.rpartition(":")[2]), client)
        control.close("the test ends")
        await client.close()
    fleet.feed.close()
    await following


WATCH = b"GET /v1/watch HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def read_all(sock: socket.socket) -> bytes:
    data = b""
    async with asyncio.timeout(20):
        while chunk := await asyncio.get_running_loop().sock_recv(sock, 2**20):
            data += chunk
    return data


async def test_a_client_that_reads_nothing_is_cut_off_and_delays_nobody(
    client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STALL_SECONDS", 0.5)
    async with listening(client_of) as server, server.client.events("/v1/watch") as events:
        slow = await server.connect(WATCH, buffer=4096)
        await eventually(lambda: len(server.control.streams) == 2)
        await events.next("snapshot")
        for number in range(150):
            server.fleet.change(weight=number, labels=PADDING)
            assert (await events.next(timeout=5)).data["updated"][0]["weight"] == number
        await eventually(lambda: len(server.control.streams) == 1)
        slow.close()


async def test_a_client_that_is_slow_gets_a_reset_for_what_is_not_kept(
    client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_CHANGES", 50)
    async with listening(client_of) as server:
        slow = await server.connect(WATCH, buffer=4096)
        await eventually(lambda: len(server.control.streams) == 1)
        for number in range(200):
            server.fleet.change(weight=number, labels=PADDING)
            await asyncio.sleep(0)
        reading = asyncio.create_task(read_all(slow), name="slow client")
        await eventually(lambda: reading_has(server, reading))
        server.control.close("enough")
        told = (await reading).decode()
        slow.close()
    assert told.count("event: change") < 200
    assert 'event: reset\ndata: {"reason":"more has happened than is kept' in told
    assert '"weight":199' in told.rpartition("event: reset")[2]
    assert told.rstrip("\r\n0").rstrip().endswith('data: {"reason":"enough"}')


def reading_has(server: Listening, reading: asyncio.Task[bytes]) -> bool:
    """Whether all that there is has been sent, and the connection has nothing left to send."""
    (stream,) = server.control.streams._open
    transport = stream._request.transport
    return transport is not None and not transport.get_write_buffer_size() and stream._whole and not reading.done()


async def test_there_are_only_so_many_streams(client_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_STREAMS", 3)
    async with listening(client_of) as server:
        socks = [await server.connect(WATCH) for _ in range(3)]
        await eventually(lambda: len(server.control.streams) == 3)
        answer = await server.client.get("/v1/watch")
        assert (answer.status, answer.body["error"]) == (503, "too_many_streams")
        assert 1 <= int(answer.headers["Retry-After"]) <= 5
        assert (await server.client.get("/v1/route?key=a")).status == 200
        for sock in socks:
            sock.close()
        await eventually(lambda: len(server.control.streams) == 0)
        async with server.client.events("/v1/watch") as events:
            await events.next("snapshot")


async def test_there_are_only_so_many_connections(client_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "MAX_CONNECTIONS", 3)
    async with listening(client_of) as server:
        socks = [await server.connect(WATCH) for _ in range(3)]
        await eventually(lambda: len(server.control.streams) == 3)
        one_more = await server.connect(b"")
        with contextlib.suppress(ConnectionResetError):
            assert await read_all(one_more) == b""
        one_more.close()
        for sock in socks:
            sock.close()


async def test_a_head_or_a_body_that_does_not_come_is_not_waited_for(
    client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "_IDLE_SECONDS", 0.3)
    monkeypatch.setattr(listeners, "_LINGER_SECONDS", 0.1)
    monkeypatch.setattr(operations, "BODY_SECONDS", 0.3)
    head = b"PUT /v1/self/stats HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
    async with listening(client_of) as server:
        nothing, part = await server.connect(b""), await server.connect(head)
        assert await read_all(nothing) == b""
        assert await read_all(part) == b""
        body = await server.connect(head + b"\r\n{")
        assert (await read_all(body)).startswith(b"HTTP/1.1 408 ")
        for sock in (nothing, part, body):
            sock.close()


async def test_an_idle_stream_has_heartbeats(client_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams.Stream.idle, "__kwdefaults__", {"seconds": 0.1})
    async with listening(client_of) as server, server.client.events("/v1/watch") as events:
        await events.next("snapshot")
        reading = asyncio.create_task(events.next("end"), name="reader")
        await eventually(lambda: events.comments >= 3)
        server.control.close("enough")
        await reading


async def test_a_fault_of_ours_is_a_500_that_says_nothing(
    client_of: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(client_of) as server:
        monkeypatch.setattr(server.control.fleet._routes, "one", lambda *_: 1 / 0)
        answer = await server.client.get("/v1/route?key=a")
    assert (answer.status, answer.body["error"]) == (500, "internal_server_error")
    assert "division" not in answer.body["message"]
    assert "ZeroDivisionError" in caplog.text


async def test_hundreds_of_streams_are_told_of_each_change(client_of: Any) -> None:
    async with listening(client_of) as server:
        socks = [await server.connect(WATCH) for _ in range(150)]
        await eventually(lambda: len(server.control.streams) == 150, 30)
        began = time.monotonic()
        server.fleet.change(weight=7)
        answers = 0
        while not await told(socks[0]):
            answers += (await server.client.get("/v1/route?key=a")).status == 200
        for sock in socks[1:]:
            await eventually(lambda sock=sock: told(sock))  # type: ignore[misc]
        assert time.monotonic() - began < 20
        for sock in socks:
            sock.close()


async def told(sock: socket.socket) -> bool:
    """Whether a socket has got a change; what it got stays there to be looked at again."""
    try:
        return b"event: change" in sock.recv(2**16, socket.MSG_PEEK)
    except BlockingIOError:
        return False
