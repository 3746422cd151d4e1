"""What RFC 6455 asks of a client's frames, beyond what picows sees to. Pure."""

from __future__ import annotations

from picows import WSMsgType

from examples.gateway.errors import BadFrame
from examples.gateway.protocol import MAX_FRAME, NO_TEXT, NOT_WEBSOCKET, TOO_LONG

_UNSENDABLE = range(1000)
_RESERVED = frozenset({1004, 1005, 1006, 1015})
_UNASSIGNED = range(1016, 3000)


class Assembly:
    """Joins the fragments of a text message (5.4); `begun` while there are some.

    What it holds is bounded by the bytes of a message, however many fragments they come in.
    """

    __slots__ = ("_text", "begun")

    def __init__(self) -> None:
        self.begun = False
        self._text = bytearray()

    def add(self, kind: WSMsgType, fragment: bytes | memoryview, *, fin: bool) -> bytes | None:
        """Take a data frame; returns the whole text with the last of it. Raises `BadFrame`."""
        if kind == WSMsgType.BINARY and not self.begun:
            raise BadFrame("only text is spoken here", NO_TEXT)
        if (kind == WSMsgType.CONTINUATION) is not self.begun:
            raise BadFrame("there is nothing to continue, or something to be continued", NOT_WEBSOCKET)
        if len(self._text) + len(fragment) > MAX_FRAME:
            raise BadFrame(f"a message has at most {MAX_FRAME} bytes", TOO_LONG)
        self._text += fragment
        self.begun = not fin
        if not fin:
            return None
        text, self._text = bytes(self._text), bytearray()
        return text


def answer_to_close(payload: bytes) -> int:
    """Return the code to answer a close frame with (5.5.1): its own, if that is one to be sent (7.4)."""
    if not payload:
        return 1000
    code = int.from_bytes(payload[:2])
    sendable = code not in _UNSENDABLE and code not in _RESERVED and code not in _UNASSIGNED and code < 5000
    return code if sendable else NOT_WEBSOCKET
