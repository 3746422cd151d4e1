"""WebSocket frames as bytes, so that one that goes to thousands is built once (RFC 6455, 5.2). Pure."""

from __future__ import annotations

import struct
from typing import Final

_TEXT: Final = 0x81
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A
PING: Final = bytes((_PING, 0))
"""A ping without a payload, as a server sends it."""


def text_frame(payload: bytes) -> bytes:
    """Return the unmasked text frame of a server that carries this UTF-8."""
    size = len(payload)
    if size < 126:
        return b"%c%c%b" % (_TEXT, size, payload)
    if size < 0x10000:
        return struct.pack("!BBH", _TEXT, 126, size) + payload
    return struct.pack("!BBQ", _TEXT, 127, size) + payload


def pong_frame(payload: bytes) -> bytes:
    """Return the answer of a server to a ping that had this payload, of at most 125 bytes."""
    return b"%c%c%b" % (_PONG, len(payload), payload)


def close_frame(code: int, reason: str) -> bytes:
    """Return the close frame of a server; of the reason as much as a frame can carry, in whole characters."""
    text = reason.encode()[:123].decode(errors="ignore").encode()
    return struct.pack("!BBH", _CLOSE, len(text) + 2, code) + text
