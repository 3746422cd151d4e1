"""What passes the router, and what a client can't make it say."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from examples.router.headers import end_to_end, is_websocket, passed, to_client, to_node


def sent(*headers: tuple[str, str], trusted: bool = False) -> CIMultiDict[str]:
    return to_node(
        CIMultiDict([("Host", "chat.example"), *headers]),
        peer="192.0.2.7",
        scheme="https",
        prefix="",
        trusted=trusted,
        via="clusterd-1",
    )


def test_hop_by_hop_headers_stay_on_their_hop() -> None:
    headers = CIMultiDict(
        [
            *(("Connection", "close, X-Mine"), ("X-Mine", "1"), ("Keep-Alive", "5"), ("TE", "trailers")),
            *(("Transfer-Encoding", "chunked"), ("Upgrade", "h2c"), ("Proxy-Authorization", "secret")),
            *(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Kept", "yes")),
        ]
    )
    assert list(end_to_end(headers).items()) == [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Kept", "yes")]


def test_a_client_can_not_have_the_message_reframed_or_readdressed() -> None:
    headers = sent(("Connection", "Host, Content-Length, X-Forwarded-For"), ("Content-Length", "5"))
    assert (headers["Host"], headers["Content-Length"]) == ("chat.example", "5")
    assert headers["X-Forwarded-For"] == "192.0.2.7"


def test_who_is_not_trusted_says_nothing_about_its_own_address() -> None:
    spoofed = (("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-Proto", "http"), ("Forwarded", "for=10.0.0.1"))
    headers = sent(*spoofed)
    assert headers.getall("X-Forwarded-For") == ["192.0.2.7"]
    assert (headers["X-Forwarded-Proto"], headers["X-Forwarded-Host"]) == ("https", "chat.example")
    assert "Forwarded" not in headers


def test_a_trusted_proxy_is_believed() -> None:
    headers = sent(("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-Proto", "http"), trusted=True)
    assert headers.getall("X-Forwarded-For") == ["198.51.100.1, 192.0.2.7"]
    assert headers["X-Forwarded-Proto"] == "http"


def test_a_request_that_comes_back_is_known() -> None:
    assert passed(sent(("Via", "1.0 fred")), "clusterd-1")
    assert not passed(sent(), "clusterd-2")
    assert to_client(CIMultiDict(), via="clusterd-1")["Via"] == "1.1 clusterd-1"


@pytest.mark.parametrize(
    ("method", "connection", "upgrade", "expected"),
    [
        ("GET", "keep-alive, Upgrade", "WebSocket", True),
        ("GET", "keep-alive", "websocket", False),
        ("GET", "Upgrade", "h2c", False),
        ("POST", "Upgrade", "websocket", False),
    ],
)
def test_only_websockets_upgrade(method: str, connection: str, upgrade: str, expected: bool) -> None:
    assert is_websocket(method, CIMultiDict(Connection=connection, Upgrade=upgrade)) is expected
