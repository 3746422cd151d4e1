"""Answers: JSON documents, and every error as `{"error","message"}` with its status."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from clusterd.errors import AgentStopped, Conflict, InvalidKey, UsageError, WaitTimeout
from clusterd.etcd.errors import Refused, Unavailable

JSON = {"Content-Type": "application/json"}

encode = msgspec.json.Encoder().encode


class ErrorDocument(msgspec.Struct, frozen=True):
    """What every error answers: `error` for programs, `message` for people."""

    error: str
    message: str


class Problem(Exception):
    """A request that is answered by an error: its status, a word for programs, a line for people."""

    def __init__(self, status: int, error: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.headers = headers or {}

    def answer(self) -> web.Response:
        """Return it as an answer."""
        return answer(ErrorDocument(self.error, self.message), status=self.status, headers=self.headers)


def answer(document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a document as an answer in JSON."""
    return answer_bytes(encode(document), status=status, headers=headers)


def answer_bytes(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a document that is encoded already as an answer in JSON."""
    return web.Response(body=body, status=status, headers={**JSON, **headers} if headers else JSON)


def bad_request(message: str) -> Problem:
    """Return the problem that something in the request can't be used."""
    return Problem(400, "bad_request", message)


def not_ready(message: str) -> Problem:
    """Return the problem that this can't be answered yet, or any more."""
    return Problem(503, "not_ready", message, {"Retry-After": "1"})


# The first row whose class fits; what fits none is a fault of ours.
_KINDS: tuple[tuple[type[Exception], int, str], ...] = (
    (InvalidKey, 400, "bad_request"),
    (UsageError, 400, "bad_request"),
    (Conflict, 409, "conflict"),
    (AgentStopped, 503, "not_ready"),
    (Unavailable, 503, "etcd_unavailable"),
    (Refused, 502, "etcd_refused"),
    (WaitTimeout, 504, "timeout"),
)


def problem_of(error: Exception) -> Problem | None:
    """Return the problem that an error of clusterd or of aiohttp is; None where it is a fault of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, web.HTTPException):
        return _of_http(error)
    for kind, status, word in _KINDS:
        if isinstance(error, kind):
            return Problem(status, word, str(error))
    return None


def plain_problem(status: int, message: str = "") -> Problem:
    """Return the problem that a bare status is."""
    phrase = HTTPStatus(status).phrase
    return Problem(status, phrase.lower().replace(" ", "_").replace("-", "_"), message or phrase)


def _of_http(error: web.HTTPException) -> Problem:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"{error.method} is not for this path: {allowed}"
        return Problem(405, "method_not_allowed", message, {"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        return Problem(404, "not_found", "there is nothing at this path: see /v1/openapi.json")
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Problem(413, "too_large", "the body is larger than what is taken here")
    return plain_problem(error.status, error.reason)
