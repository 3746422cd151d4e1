"""Who asks for a WebSocket as RFC 6455, 4.2.1 has it: picows alone refuses Firefox, and grants old versions. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from picows import WSUpgradeRequest, WSUpgradeResponse, WSUpgradeResponseWithListener

_SPOKEN: Final = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


def refusal(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener | None:
    """Return what to answer a request that asks for no WebSocket of version 13; None for one that does.

    Of a request that is granted picows looks at the key. It takes headers that list words for one word: where
    `Connection: keep-alive, Upgrade` has what it must, it is left with that.
    """
    headers = request.headers
    if "Host" not in headers:
        return _answer(HTTPStatus.BAD_REQUEST, b"a request has a Host\n", {})
    asked = "upgrade" in _words(request, "Connection") and "websocket" in _words(request, "Upgrade")
    if not asked or headers.get("Sec-WebSocket-Version") != "13":
        return _answer(HTTPStatus.UPGRADE_REQUIRED, b"here WebSocket is spoken, version 13\n", _SPOKEN)
    headers["Connection"], headers["Upgrade"] = "Upgrade", "websocket"
    return None


def _words(request: WSUpgradeRequest, name: str) -> set[str]:
    return {word.strip().lower() for value in request.headers.getall(name, []) for word in value.split(",")}


def _answer(status: HTTPStatus, body: bytes, headers: dict[str, str]) -> WSUpgradeResponseWithListener:
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(status, body, headers), None)
