"""What a request is hashed by."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from clusterd import UsageError

KeyOf = Callable[[web.BaseRequest], str | None]


def key_of(spec: str) -> KeyOf:
    """Return the function that finds a request's key: None where the request has none, and any node will do.

    `spec` is `user`, `path`, `header:NAME`, `cookie:NAME` or `query:NAME`. The key of a user is `user:ID`, ID being the
    parameter `user` of the query or the header X-User: the key under which a gateway keeps that user.
    Raises `UsageError`.
    """
    kind, _, name = spec.partition(":")
    if kind in _BY_NAME and name:
        by_name = _BY_NAME[kind]
        return lambda request: by_name(request, name) or None
    if spec in _PLAIN:
        return _PLAIN[spec]
    raise UsageError(f"can't hash by {spec!r}: give user, path, header:NAME, cookie:NAME or query:NAME")


def _user(request: web.BaseRequest) -> str | None:
    user = request.query.get("user") or request.headers.get("X-User")
    return f"user:{user}" if user else None


_PLAIN: dict[str, KeyOf] = {"user": _user, "path": lambda request: request.rel_url.raw_path}
_BY_NAME: dict[str, Callable[[web.BaseRequest, str], str | None]] = {
    "header": lambda request, name: request.headers.get(name),
    "cookie": lambda request, name: request.cookies.get(name),
    "query": lambda request, name: request.query.get(name),
}
