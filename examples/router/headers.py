"""Which headers pass the proxy, and which it adds (RFC 9110, 7.6). Pure functions."""

from __future__ import annotations

from collections.abc import Iterable

from multidict import CIMultiDict, CIMultiDictProxy

_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
# A header that frames or addresses the message is not the client's to take out.
_KEPT = frozenset({"host", "content-length"})
_ABOUT_THE_CLIENT = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Prefix")

Headers = CIMultiDict[str]
HeadersView = CIMultiDict[str] | CIMultiDictProxy[str]


def tokens(headers: HeadersView, name: str) -> set[str]:
    """Return the lower-case members of a header that lists words, such as Connection."""
    return {word for value in headers.getall(name, ()) for word in _words(value)}


def end_to_end(headers: HeadersView) -> Headers:
    """Return what is meant for the other end: without hop-by-hop headers, and those that Connection names."""
    dropped = _HOP_BY_HOP
    if "Connection" in headers:
        dropped = dropped | (tokens(headers, "Connection") - _KEPT)
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


def is_websocket(method: str, headers: HeadersView) -> bool:
    """Whether a request asks for a WebSocket."""
    return (
        method == "GET" and "upgrade" in tokens(headers, "Connection") and tokens(headers, "Upgrade") == {"websocket"}
    )


def upgrading(headers: Headers) -> Headers:
    """Add what asks for a WebSocket, or grants one, on this hop."""
    headers["Connection"] = "Upgrade"
    headers["Upgrade"] = "websocket"
    return headers


def to_node(headers: HeadersView, *, peer: str, scheme: str, prefix: str, trusted: bool, via: str) -> Headers:
    """Return the headers of a client's request as its node gets them.

    Whoever isn't `trusted` can't say anything about its own address: that is replaced by what was seen.
    """
    sent = end_to_end(headers)
    sent.popall("Expect", None)  # answered on this hop already
    host = sent.get("Host", "")
    if not trusted:
        for name in _ABOUT_THE_CLIENT:
            sent.popall(name, None)
    sent["X-Forwarded-For"] = ", ".join((*sent.popall("X-Forwarded-For", ()), peer))
    sent.setdefault("X-Forwarded-Proto", scheme)
    sent.setdefault("X-Forwarded-Host", host)
    if prefix:
        sent["X-Forwarded-Prefix"] = prefix
    sent.add("Via", f"1.1 {via}")
    return sent


def to_client(headers: HeadersView, *, via: str) -> Headers:
    """Return the headers of a node's answer as the client gets them."""
    sent = end_to_end(headers)
    sent.add("Via", f"1.1 {via}")
    return sent


def passed(headers: HeadersView, via: str) -> bool:
    """Whether a request has been here before: a node's address leads back to the router."""
    return any(via in value.lower().split() for entry in headers.getall("Via", ()) for value in entry.split(","))


def _words(value: str) -> Iterable[str]:
    return filter(None, (word.strip().lower() for word in value.split(",")))
