"""Where one WebSocket frame ends and the next begins (RFC 6455, 5.2), so that a frame can be put between two. Pure."""

from __future__ import annotations

_CLOSE = 0x8
_FINAL = 0x80
_MAX_REASON = 123


class FrameTracker:
    """Follows the frames of one direction through the chunks that they come in, whatever is in them."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self.closed = False
        """Whether a close frame has begun: nothing may follow it."""

    @property
    def between(self) -> bool:
        """Whether all that was fed ends with a frame's end."""
        return not self._left and not self._head

    @property
    def missing(self) -> int:
        """Bytes up to the end of the frame that has begun; 0 between frames, and while its length isn't known."""
        return self._left

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes into account."""
        if self._left >= len(chunk):
            self._left -= len(chunk)
            return
        data = self._head + chunk if self._head else chunk
        at, end = self._left, len(data)
        while at < end:
            head, payload = _measure(data, at)
            if not head:
                break
            self.closed = self.closed or data[at] & 0x0F == _CLOSE
            at += head + payload
        self._head = data[at:] if at < end else b""
        self._left = max(at - end, 0)


def close_frame(code: int, reason: str) -> bytes:
    """Return the close frame that a server sends."""
    payload = code.to_bytes(2) + reason.encode()[:_MAX_REASON]
    return bytes((_FINAL | _CLOSE, len(payload))) + payload


def _measure(data: bytes, at: int) -> tuple[int, int]:
    """Return the sizes of a frame's head and payload; (0, 0) where too little of the head is there."""
    if len(data) < at + 2:
        return 0, 0
    second = data[at + 1]
    size = second & 0x7F
    extra = 2 if size == 126 else 8 if size == 127 else 0
    head = 2 + extra + (4 if second & 0x80 else 0)
    if len(data) < at + head:
        return 0, 0
    return head, int.from_bytes(data[at + 2 : at + 2 + extra]) if extra else size
