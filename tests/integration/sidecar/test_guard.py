"""Who gets in: tokens, TLS, a Unix socket, no web page; and what a request may look like."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from clusterd.testing import AgentProcess
from clusterd.testing.certs import Authority

TOKEN, OTHER = "first-token-0123456789", "other-token-0123456789"
CHANGES = [
    ("PUT", "/v1/self/stats"),
    ("PATCH", "/v1/self"),
    ("POST", "/v1/self/drain"),
    ("DELETE", "/v1/self/drain"),
    ("GET", "/v1/self/evictions"),
    ("POST", "/v1/leader/job"),
    ("PUT", "/v1/leader/job"),
    ("DELETE", "/v1/leader/job"),
]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def status(client: Any, token: str) -> int:
    answer = await client.ask("PUT", "/v1/self/stats", json={"sessions": 0}, headers=bearer(token))
    return int(answer.status)


async def test_what_changes_something_needs_a_token_which_can_be_replaced(site: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    daemon = await site.daemon("gw-1", "--control", "0.0.0.0:0", "--token-file", str(file), "--log-level", "debug")
    control = daemon.control
    control._base = control.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    for method, path in CHANGES:
        for headers in ({}, bearer(OTHER), bearer(""), {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"}):
            answer = await control.ask(method, path, headers=headers)
            assert (answer.status, answer.body["error"]) == (401, "unauthorized"), (method, path, headers)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert (await control.get("/v1/self")).status == 200
    assert await status(control, TOKEN) == 200
    file.write_text(f"{TOKEN}\n{OTHER}\n")
    assert [await status(control, TOKEN), await status(control, OTHER)] == [200, 200]
    file.write_text(f"{OTHER}\n")
    assert [await status(control, TOKEN), await status(control, OTHER)] == [401, 200]
    file.unlink()
    assert [await status(control, TOKEN), await status(control, OTHER)] == [401, 401]
    shown = (await control.get("/v1/self")).body, (await control.get("/v1/openapi.json")).body
    assert await daemon.process.terminate(grace=30) == 0
    for token in (TOKEN, OTHER):
        assert token not in f"{shown} {daemon.process.lines}"


@pytest.mark.parametrize("text", ["", "short\n", f"{TOKEN}\nshort\n"])
async def test_a_token_file_without_a_usable_token_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    flags = ("--node", "gw-1", "--address", "h:1", "--control", "127.0.0.1:0", "--token-file", str(file))
    async with AgentProcess(*flags) as process:
        assert await process.wait(30) == 2
    (line,) = process.stderr
    assert line.endswith("give a token of at least 16 characters on a line of its own")


async def test_control_is_served_by_https_where_there_is_a_certificate(site: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("server", hosts=("127.0.0.1",))
    daemon = await site.daemon("gw-1", "--control-cert", str(cert), "--control-key", str(key))
    assert daemon.control.url.startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=authority.certificate)
    assert (await daemon.control.get("/v1/self", ssl=context)).status == 200
    async with daemon.control.events("/v1/watch", ssl=context) as events:
        assert (await events.next()).name == "snapshot"
    other, other_key = authority.issue("renewed", hosts=("127.0.0.1",))
    before = await serial(daemon, context)
    key.write_bytes(other_key.read_bytes())
    await serial(daemon, context)  # the two don't belong together: the old ones stay in use
    cert.write_bytes(other.read_bytes())
    assert await serial(daemon, context) != before
    plain = daemon.control.url.replace("https", "http")
    with pytest.raises(aiohttp.ClientError):
        await daemon.control.session.get(plain)


async def serial(daemon: Any, context: ssl.SSLContext) -> str:
    """Return the serial number of the certificate that a new connection is shown."""
    port = int(daemon.control.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    await writer.wait_closed()
    return str(shown)


async def test_control_can_be_a_unix_socket(site: Any, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    path.touch()
    flags = ("--node", "gw-2", "--address", "h:1", "--control", f"unix:{path}", "--etcd", site.etcd.endpoint)
    async with AgentProcess(*flags) as refused:
        assert await refused.wait(30) == 5
    path.unlink()
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    daemon = await site.daemon("gw-1", "--control", f"unix:{path}")
    assert daemon.control.url == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o660
    assert (await daemon.control.get("/v1/self")).body["node"]["id"] == "gw-1"
    async with AgentProcess(*flags) as second:
        assert await second.wait(30) == 5
    assert (await daemon.control.get("/v1/self")).status == 200
    assert await daemon.process.terminate(grace=30) == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8470", "Origin": "http://evil.example:8470"}, 421),
        ({"Host": "192.0.2.1"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "localhost:8470"}, 200),
        ({"Host": "[::1]:8470", "Sec-Fetch-Site": "same-origin", "Origin": "http://[::1]:8470"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
async def test_no_web_page_gets_in(one: Any, headers: dict[str, str], expected: int) -> None:
    assert (await one.get("/v1/self", headers=headers)).status == expected
    answer = await one.ask("PUT", "/v1/self/stats", json={"sessions": 0}, headers=headers)
    assert answer.status == expected


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "options", "expected"),
    [
        ("GET", "/", {}, (404, "not_found")),
        ("GET", "/v1/self/", {}, (404, "not_found")),
        ("GET", "/v1/self/stats", {}, (405, "method_not_allowed")),
        ("OPTIONS", "/v1/self", {}, (405, "method_not_allowed")),
        ("BREW", "/v1/self", {}, (400, "bad_request")),
        ("GET", "/v1/route", {}, (400, "bad_request")),
        ("GET", "/v1/route?key=a&key=b", {}, (400, "bad_request")),
        ("GET", "/v1/route?key=a&n=0", {}, (400, "bad_request")),
        ("GET", "/v1/route?key=a&n=101", {}, (400, "bad_request")),
        ("GET", "/v1/route?key=a&m=1", {}, (400, "bad_request")),
        ("GET", "/v1/nodes?state=gone", {}, (400, "bad_request")),
        ("GET", "/v1/nodes?label=%20", {}, (400, "bad_request")),
        ("GET", "/v1/nodes?index=-1", {}, (400, "bad_request")),
        ("GET", "/v1/nodes?wait=5s", {}, (400, "bad_request")),
        ("GET", "/v1/nodes?index=1&wait=soon", {}, (400, "bad_request")),
        ("GET", "/v1/self?x=1", {}, (400, "bad_request")),
        ("GET", "/v1/leader/a%2Fb", {}, (400, "bad_request")),
        ("GET", "/v1/leader/-", {}, (400, "bad_request")),
        ("PUT", "/v1/self/stats", {}, (415, "unsupported_media_type")),
        ("PUT", "/v1/self/stats", {"data": "sessions=1"}, (415, "unsupported_media_type")),
        ("PUT", "/v1/self/stats", {"data": b"", "headers": JSON}, (400, "bad_request")),
        ("PUT", "/v1/self/stats", {"data": b"{", "headers": JSON}, (400, "bad_request")),
        ("PUT", "/v1/self/stats", {"data": b'{"sessions":-1}', "headers": JSON}, (400, "bad_request")),
        ("PUT", "/v1/self/stats", {"data": b'{"sessions":1,"x":1}', "headers": JSON}, (400, "bad_request")),
        ("PUT", "/v1/self/stats", {"data": b"[" * 100_000, "headers": JSON}, (400, "bad_request")),
        ("PUT", "/v1/self/stats", {"data": io.BytesIO(b" " * 2**20 + b"{}"), "headers": JSON}, (413, "too_large")),
        (
            "PUT",
            "/v1/self/stats",
            {"data": b"{}", "headers": {**JSON, "Content-Encoding": "gzip"}},
            (415, "unsupported_media_type"),
        ),
        ("PATCH", "/v1/self", {"json": {}}, (400, "bad_request")),
        ("PATCH", "/v1/self", {"json": {"state": "drained"}}, (400, "bad_request")),
        ("PATCH", "/v1/self", {"json": {"labels": {"a": "x" * 20_000}}}, (400, "bad_request")),
        ("POST", "/v1/self/drain", {"json": {"rate": 1, "over": 1}}, (400, "bad_request")),
        ("POST", "/v1/self/drain", {"json": {"deadline": 0}}, (400, "bad_request")),
        ("POST", "/v1/self/drain", {"data": "deadline=5"}, (415, "unsupported_media_type")),
        ("POST", "/v1/route", {"json": {"keys": ["a"] * 10_001}}, (400, "bad_request")),
        ("PUT", "/v1/leader/job", {"json": {"candidacy": "x"}}, (404, "not_found")),
        ("DELETE", "/v1/leader/job", {}, (409, "conflict")),
        ("POST", "/v1/leader/job", {"json": {"ttl": 0}}, (400, "bad_request")),
        ("GET", "/v1/self", {"headers": {"X": "y" * 9000}}, (400, "bad_request")),
        ("GET", "/v1/self", {"headers": {f"X-{n}": "y" for n in range(200)}}, (400, "bad_request")),
        ("PUT", "/v1/self/stats", {"json": {"sessions": 0}, "headers": {"Expect": "magic"}}, (417, None)),
    ],
)
async def test_what_is_wrong_is_answered_in_json(
    one: Any, method: str, path: str, options: dict[str, Any], expected: tuple[int, str | None]
) -> None:
    async with one.session.request(method, URL(one.url + path, encoded=True), **options) as response:
        assert response.status == expected[0], await response.text()
        assert response.content_type == "application/json"
        body = await response.json()
    assert set(body) == {"error", "message"}
    assert expected[1] in (None, body["error"])
    assert body["message"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\xff\xfe\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v1/self HTTP/9.9\r\n\r\n",
        b"GET /v1/self HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"PUT /v1/self/stats HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_answered_in_json_and_hung_up_on(one: Any, raw: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(one.url.rpartition(":")[2]))
    writer.write(raw)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert b'{"error":"bad_request","message":' in answer
    assert (await one.get("/v1/self")).status == 200


async def test_a_query_that_is_not_utf_8_is_refused(one: Any) -> None:
    for query in ("key=%FF", "key=%zz", "key", "key=a&&n=1", "=a", "&".join(f"key={n}" for n in range(200))):
        async with one.session.get(URL(f"{one.url}/v1/route?{query}", encoded=True)) as response:
            assert response.status == 400


async def test_state_is_as_it_was_after_all_that(one: Any) -> None:
    assert (await one.get("/v1/self")).body["node"]["state"] == "active"
    assert (await one.get("/v1/self")).body["drain"] is None


@pytest.fixture
async def one(one_daemon: Any, client_of: Any) -> Any:
    client = client_of(one_daemon)
    yield client
    await client.close()
