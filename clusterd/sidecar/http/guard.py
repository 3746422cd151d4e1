"""Who may ask for what: tokens, and no web page that a browser on this host has open."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import web

from clusterd.errors import UsageError
from clusterd.sidecar.http.addresses import ListenAddress
from clusterd.sidecar.http.answers import Problem
from clusterd.sidecar.http.tokens import TokenFile

_PORT = re.compile(r":[0-9]{0,5}$")


class Guard:
    """Admits requests to the control listener at one address.

    - What changes something needs a token, if there is a file with some; an address that others can reach needs one.
    - A browser on this host can reach loopback, and so can every page that it shows. So a request that a page of
      another origin caused is refused (`Origin`, `Sec-Fetch-Site`), and on loopback also one whose `Host` isn't
      loopback: that is how a page gets around its own origin (DNS rebinding).
    """

    def __init__(self, address: ListenAddress, tokens: TokenFile | None) -> None:
        if tokens is None and not address.private:
            raise UsageError(
                f"--control {address} can be reached from other hosts: give a --token-file, "
                "or listen on 127.0.0.1 or a unix socket"
            )
        self._tokens = tokens
        self._checks_host = address.private and address.path is None

    def admit(self, request: web.Request, *, changes: bool) -> None:
        """Raise `Problem` if the request may not be served."""
        headers = request.headers
        host = headers.get("Host", "")
        if self._checks_host and host and not is_loopback(host):
            raise Problem(421, "misdirected_request", "the Host of a request to loopback has to be a loopback one")
        origin = headers.get("Origin")
        if origin is not None and not (host and origin_host(origin) == host.lower()):
            raise _from_a_page()
        if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise _from_a_page()
        if changes and self._tokens is not None:
            self._check_token(headers.get("Authorization", ""))

    def _check_token(self, authorization: str) -> None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or self._tokens is None or not self._tokens.accepts(token.strip()):
            message = "this needs a token that is accepted here: Authorization: Bearer TOKEN"
            raise Problem(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a `Host` header names loopback, by name or number, with or without a port."""
    name = _PORT.sub("", host).strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def origin_host(origin: str) -> str:
    """Return the host and port of an origin; empty for `null` and what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _from_a_page() -> Problem:
    return Problem(403, "forbidden", "a web page of another origin may not ask for this")
