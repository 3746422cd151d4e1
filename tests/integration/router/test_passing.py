"""Requests and WebSockets reach a node as they were sent, and answers come back as they were given."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from clusterd.testing import eventually


async def raw(url: str, request: bytes) -> bytes:
    """Return what the router answers to these bytes, up to its end."""
    parsed = URL(url)
    reader, writer = await asyncio.open_connection(parsed.host, parsed.port)
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_requests_pass_as_they_were_sent(front: Any) -> None:
    await asyncio.gather(front.start(2, "--body", "200000"), front.node("orders-1", "--service", "orders"))
    await eventually(lambda: front.sees("gw-1", "gw-2", "orders-1"))

    async with front.session.put(
        URL(f"{front.url}/a%2Fb/../c?x=%20y&user=ada", encoded=True),
        data=b"x" * 100_000,
        headers={"X-Forwarded-For": "6.6.6.6", "X-Kept": "yes", "Connection": "X-Mine", "X-Mine": "1"},
    ) as answer:
        seen = await answer.json()
        assert answer.headers["Set-Cookie"] == f"seen={seen['node']}"
        assert "X-Secret-Hop" not in answer.headers
    headers = dict(seen["headers"])
    assert (seen["method"], seen["target"], seen["bytes"]) == ("PUT", "/a%2Fb/../c?x=%20y&user=ada", 100_000)
    assert (headers["X-Forwarded-For"], headers["X-Kept"]) == ("127.0.0.1", "yes")
    assert headers["Host"] == headers["X-Forwarded-Host"] == front.url.removeprefix("http://")
    assert "X-Mine" not in headers

    status, seen = await front.get("/api/orders/42?x=1", "POST", data=b"short")
    assert (status, seen["node"], seen["target"], seen["bytes"]) == (200, "orders-1", "/42?x=1", 5)
    assert ["X-Forwarded-Prefix", "/api/orders"] in seen["headers"]

    owners = {user: (await front.get(f"/?user={user}"))[1]["node"] for user in ("ada", "bob", "cy", "dee", "eve")}
    for user, owner in owners.items():
        assert (await front.get("/again", headers={"X-User": user}))[1]["node"] == owner
    assert len(set(owners.values())) == 2

    async with front.session.head(f"{front.url}/") as answer:
        assert answer.status == 200
        assert answer.content_length


async def test_what_the_router_refuses_is_one_line_of_json(front: Any) -> None:
    await front.start(1, "--body", "1000", "--hash-by", "path")
    for path, expected in {
        "/api/nope/x": (503, "no_node", "no node of service nope is active"),
        "/api/": (404, "no_service", "no service is named: ask for /api/SERVICE/…"),
    }.items():
        status, body = await front.get(path)
        assert (status, body["error"], body["message"]) == expected
    assert (await front.get("/", "POST", data=b"x" * 1001))[0] == 413

    async def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 100

    assert (await front.get("/", "POST", data=chunks()))[0] == 413
    for line in (b"GET http://evil.example/ HTTP/1.1", b"OPTIONS * HTTP/1.1"):
        answer = await raw(front.url, line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert msgspec.json.decode(answer.split(b"\r\n\r\n", 1)[1])["error"] == "not_a_path"
    answer = await raw(front.url, b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] in (b"400", b"405")

    await front.etcd.admin.put(
        "/nodes/myself", json.dumps({"v": 1, "id": "myself", "address": front.url.removeprefix("http://")})
    )
    await front.nodes["gw-1"].terminate()
    await eventually(lambda: front.sees("myself"))
    assert (await front.get("/"))[1]["error"] == "loop"


async def test_websockets_pass_with_protocol_compression_and_close_codes(front: Any) -> None:
    await front.start(2)
    async with front.socket("/ws?user=ada", protocols=("nope", "chat"), compress=15) as socket:
        assert (socket.protocol, socket.compress) == ("chat", 15)
        await socket.send_str("who")
        assert (await socket.receive_str()) == (await front.get("/?user=ada"))[1]["node"]
        for size in (0, 1, 5_000_000):
            await socket.send_bytes(bytes(size))
            assert len(await socket.receive_bytes()) == size
        await socket.ping(b"hello")
        await socket.send_str("close 4001 so be it")
        closed = await socket.receive()
        assert (closed.data, closed.extra) == (4001, "so be it")
    async with front.socket("/ws?user=ada") as socket:
        await socket.close(code=4002, message=b"enough")
    assert (await front.get("/?user=ada"))[1]["closes"][-1] == 4002

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await front.socket("/no-websocket-here")
    assert refused.value.status == 200, "what the node answers instead is passed on"
    await eventually(lambda: nothing_under_way(front))


async def nothing_under_way(front: Any) -> bool:
    return all(node["active"] == 0 for node in (await front.look()).values())
