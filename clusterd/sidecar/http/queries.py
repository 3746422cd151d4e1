"""Reading requests: query and body, within bounds, and nothing that isn't known passes as a default. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import unquote

import msgspec

from clusterd.sidecar.http.answers import Problem, bad_request

MAX_PARAMETERS = 100

_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_JSON = re.compile(r"application/json *(; *charset *= *\"?utf-8\"? *)?", re.IGNORECASE)
T = TypeVar("T")


class Query:
    """The parameters of a request, each known by the operation that it is for."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    @classmethod
    def parse(cls, raw: str, known: frozenset[str]) -> Query:
        """Return what a raw query string says. Raises `Problem` for what isn't one, or names no known parameter."""
        if not raw:
            return _EMPTY
        values: dict[str, list[str]] = {}
        for name, value in _pairs(raw):
            if name not in known:
                names = ", ".join(sorted(known)) or "none"
                raise bad_request(f"there is no parameter {name!r} here: known are {names}")
            values.setdefault(name, []).append(value)
        return cls(values)

    def one(self, name: str) -> str | None:
        """Return the value of a parameter, None where it isn't given. Raises `Problem` if it is given twice."""
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise bad_request(f"{name} is given {len(values)} times: give it once")
        return values[0]

    def many(self, name: str) -> tuple[str, ...]:
        """Return all values of a parameter."""
        return tuple(self._values.get(name, ()))

    def number(self, name: str, default: int, *, most: int) -> int:
        """Return a whole number from 1 to `most`. Raises `Problem` for anything else."""
        text = self.one(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
            raise bad_request(f"{name} {text!r} can't be used: give a whole number from 1 to {most}")
        return int(text)


_EMPTY = Query({})


def _pairs(raw: str) -> list[tuple[str, str]]:
    parts = raw.split("&", MAX_PARAMETERS)
    pairs = [part.partition("=") for part in parts]
    if len(parts) > MAX_PARAMETERS or not raw.isascii() or not all(equals and name for name, equals, _ in pairs):
        raise _unreadable()
    if "%" in raw or "+" in raw:
        return [(_decoded(name), _decoded(value)) for name, _, value in pairs]
    return [(name, value) for name, _, value in pairs]


def _decoded(text: str) -> str:
    """Return what is percent-encoded, as HTML forms do it: a `+` is a blank."""
    if _ESCAPE.search(text):
        raise _unreadable()
    try:
        return unquote(text.replace("+", " "), errors="strict")
    except UnicodeDecodeError as error:
        raise _unreadable() from error


def _unreadable() -> Problem:
    return bad_request(
        f"the query can't be read: give NAME=VALUE&…, percent-encoded UTF-8, at most {MAX_PARAMETERS} of them"
    )


def check_content_type(content_type: str, encoding: str) -> None:
    """Raise `Problem` for a body that isn't plain JSON: forms and plain text are what a web page can send unasked."""
    if not _JSON.fullmatch(content_type.strip()):
        raise Problem(415, "unsupported_media_type", "a body has to have the Content-Type application/json")
    if encoding.lower() not in ("", "identity"):
        raise Problem(415, "unsupported_media_type", "a body can't be compressed")


def read_document(kind: type[T], data: bytes) -> T:
    """Return the document that a body is. Raises `Problem` for one that isn't of that kind."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"the body can't be used: {error}") from error
