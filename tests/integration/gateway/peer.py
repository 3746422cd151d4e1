"""A WebSocket client that can break every rule: frames as bytes on a plain socket."""

from __future__ import annotations

import json
import re
import socket
import struct
from contextlib import suppress
from typing import Any, Self

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0
CLOSED_FOR_PROTOCOL, CLOSED_FOR_KIND, CLOSED_FOR_TEXT, CLOSED_FOR_SIZE = 1002, 1003, 1007, 1009
WHO = b'{"t":"who","of":"user:nobody"}'
MASK = b"\x37\xfa\x21\x3d"
REQUEST = {
    "Host": "gateway",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
"""What asks for a WebSocket, with the key of RFC 6455, 1.3."""
_SECONDS = 10.0


def frame(
    kind: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bytes | None = MASK, length: int = 0
) -> bytes:
    """Return a frame as a client sends it; `length` is what it claims to have, if that isn't so."""
    head = bytes((fin << 7 | reserved << 4 | kind,))
    size = length or len(payload)
    flag = 0 if mask is None else 0x80
    if size < 126:
        head += bytes((flag | size,))
    elif size < 1 << 16:
        head += struct.pack("!BH", flag | 126, size)
    else:
        head += struct.pack("!BQ", flag | 127, size)
    return head + (payload if mask is None else mask + masked(payload, mask))


def masked(payload: bytes, mask: bytes) -> bytes:
    """Return the payload under a mask of four bytes (5.3)."""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(len(payload))


def text(said: object) -> bytes:
    """Return something said in the gateway's protocol, as one frame."""
    return frame(TEXT, json.dumps(said).encode())


class Peer:
    """A connection to a node; a context manager. What is expected comes within 10 seconds, or `TimeoutError`."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._got = b""
        self.user = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def request(self, *lines: str) -> tuple[int, str]:
        """Send a request of these lines; return the status and the head of the answer."""
        self.send("\r\n".join((*lines, "", "")).encode())
        return self.granted()

    def granted(self) -> tuple[int, str]:
        """Return the status and the head of the answer to a request."""
        while b"\r\n\r\n" not in self._got:
            self._read()
        head, _, self._got = self._got.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.1 (\d+) ", head)
        assert status, head
        return int(status[1]), head.decode()

    def ask(self, path: str = "/ws", **headers: str | None) -> tuple[int, str]:
        """Ask for a WebSocket, with these headers in place of the usual ones (None: without it)."""
        given = {**REQUEST, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.request(f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items() if value))

    def upgrade(self, user: str = "ann") -> Self:
        """Have a WebSocket, and begin a session."""
        status, _ = self.ask()
        assert status == 101
        self.user = user
        self.send(text({"t": "hello", "user": user}))
        assert self.hear()["t"] == "welcome"
        return self

    def send(self, raw: bytes, *, pieces: int = 0) -> None:
        """Send bytes, in pieces of so many if asked for."""
        for start in range(0, len(raw), pieces or len(raw)):
            self._socket.sendall(raw[start : start + (pieces or len(raw))])

    def frame(self) -> tuple[int, bytes]:
        """Return the kind and the payload of the next frame: whole, unmasked, without reserved bits."""
        head, size = self._take(2)
        assert head & 0xF0 == 0x80, f"first byte {head:#x}"
        if size > 125:
            size = int.from_bytes(self._take(2 if size == 126 else 8))
        return head & 0xF, self._take(size)

    def hear(self, *kinds: str) -> dict[str, Any]:
        """Return what the gateway says next, of these kinds if any are given."""
        while True:
            kind, payload = self.frame()
            assert kind == TEXT, (kind, payload)
            said: dict[str, Any] = json.loads(payload)
            if not kinds or said["t"] in kinds:
                return said

    def answers(self) -> bool:
        """Whether the session goes on."""
        self.send(text({"t": "who", "of": "user:nobody"}))
        return self.hear()["t"] == "here"

    def closed(self) -> tuple[int, str]:
        """Return code and reason with which the gateway closes, after nothing else.

        That is answered, and the gateway ends the connection (7.1.1).
        """
        kind, payload = self.frame()
        assert kind == CLOSE, (kind, payload)
        with suppress(ConnectionError):
            self.send(frame(CLOSE, payload[:2]))
        self.ends()
        return int.from_bytes(payload[:2]), payload[2:].decode()

    def ends(self) -> None:
        """Hold that nothing more comes, and the gateway ends the connection."""
        with suppress(ConnectionResetError):
            assert self._got + self._socket.recv(1) == b""

    def rest(self) -> int:
        """Read until the connection ends; return how many bytes that were."""
        size = len(self._got)
        with suppress(ConnectionResetError):
            while got := self._socket.recv(1 << 16):
                size += len(got)
        return size

    def _take(self, size: int) -> bytes:
        while len(self._got) < size:
            self._read()
        taken, self._got = self._got[:size], self._got[size:]
        return taken

    def _read(self) -> None:
        got = self._socket.recv(1 << 16)
        if not got:
            raise EOFError(f"the connection ended after {self._got!r}")
        self._got += got


def to_self(peer: Peer, body: str) -> bytes:
    """Return a message to the own mailbox, from where it comes back."""
    return f'{{"t":"send","id":"1","to":"user:{peer.user}","body":"{body}"}}'.encode()
