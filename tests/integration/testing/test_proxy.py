"""The network between a client and a server goes bad, in each of its ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from clusterd.testing import EtcdAdmin, EtcdServer, TcpProxy

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that sends back what it gets."""

    def __init__(self) -> None:
        self.port = 0
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while data := await reader.read(1000):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    async with await asyncio.start_server(echo.serve, "127.0.0.1", 0) as server:
        echo.port = server.sockets[0].getsockname()[1]
        yield echo


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[TcpProxy]:
    async with TcpProxy(f"127.0.0.1:{echo.port}") as proxy:
        yield proxy
    while echo.open:  # noqa: ASYNC110 - the end of the server's side is all that is left
        await asyncio.sleep(0.01)


@pytest.fixture
async def client(proxy: TcpProxy) -> AsyncIterator[Stream]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.close()


async def say(client: Stream, word: bytes) -> bytes:
    reader, writer = client
    writer.write(word)
    return await asyncio.wait_for(reader.readexactly(len(word)), 5)


async def hears_nothing(client: Stream, seconds: float = 0.2) -> bool:
    try:
        await asyncio.wait_for(client[0].read(1), seconds)
    except TimeoutError:
        return True
    return False


async def test_bytes_pass_both_ways(client: Stream) -> None:
    assert await say(client, b"hello") == b"hello"


async def test_delayed_bytes_arrive_late_both_ways(proxy: TcpProxy, client: Stream) -> None:
    await say(client, b"fast")
    proxy.delay(0.1)
    before = time.monotonic()
    await say(client, b"slow")
    assert time.monotonic() - before >= 0.2
    await proxy.heal()
    before = time.monotonic()
    await say(client, b"fast")
    assert time.monotonic() - before < 0.1


async def test_dropped_bytes_arrive_once_the_network_is_back(proxy: TcpProxy, client: Stream) -> None:
    await say(client, b"before")
    proxy.drop()
    client[1].write(b"lost?")
    assert await hears_nothing(client)
    late = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await hears_nothing(late)
    await proxy.heal()
    assert await client[0].readexactly(5) == b"lost?"
    assert await say(late, b"late") == b"late"
    late[1].close()


async def test_half_open_connections_are_gone_for_the_server_alone(proxy: TcpProxy, client: Stream, echo: Echo) -> None:
    await say(client, b"hello")
    proxy.half_open()
    client[1].write(b"anyone?")
    assert await hears_nothing(client)
    assert echo.open == 0
    assert proxy.connections == 1
    again = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await say(again, b"again") == b"again"
    again[1].close()


async def test_reset_connections_fail_at_once_and_new_ones_work(proxy: TcpProxy, client: Stream) -> None:
    await say(client, b"hello")
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await client[0].read(1)
    again = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await say(again, b"again") == b"again"
    again[1].close()


async def test_refused_connections_fail_and_those_that_are_there_go_on(proxy: TcpProxy, client: Stream) -> None:
    await say(client, b"hello")
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await say(client, b"still") == b"still"
    await proxy.heal()
    again = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await say(again, b"again") == b"again"
    again[1].close()


async def test_a_client_of_a_server_that_is_gone_gets_a_reset() -> None:
    async with TcpProxy("127.0.0.1:1") as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()


async def test_an_etcd_is_reached_through_it(etcd: EtcdServer) -> None:
    async with TcpProxy(etcd.endpoint) as proxy, EtcdAdmin(proxy.endpoint, timeout=0.3) as admin:
        await admin.put("/k", "1")
        proxy.drop()
        with pytest.raises(TimeoutError):
            await admin.put("/k", "2")
        await proxy.heal()
        await admin.put("/k", "3")
