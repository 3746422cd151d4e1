"""What the router itself answers where no node does: one line of JSON, `{"error", "message"}`."""

from __future__ import annotations

import msgspec
from aiohttp import web

_RETRY_AFTER = frozenset({503})


class Failure(Exception):
    """A request that ends here: an HTTP status, a word for programs and a line for people."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message

    def response(self) -> web.Response:
        """Return the answer to the client."""
        headers = {"Retry-After": "1"} if self.status in _RETRY_AFTER else {}
        body = msgspec.json.encode({"error": self.error, "message": self.message}) + b"\n"
        return web.Response(status=self.status, headers=headers, body=body, content_type="application/json")


class AttemptFailed(Failure):
    """A node that did not answer. `untouched`: it can't have begun to act on the request."""

    def __init__(self, status: int, error: str, message: str, *, untouched: bool = False, dead: bool = True) -> None:
        super().__init__(status, error, message)
        self.untouched = untouched
        self.dead = dead
