"""How to reach etcd: endpoints, credentials, TLS. All of it is checked when it is made, before anything connects."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from clusterd.errors import UsageError

DEFAULT_ENDPOINT = "http://127.0.0.1:2379"
DEFAULT_PORT = 2379

_PLAIN = re.compile(r"([A-Za-z]{1,8}://)?(\[[0-9A-Fa-f:.]*\]?|[^:/?#]*)(:[0-9]*(?=$|[/?#]))?")


@dataclass(frozen=True, slots=True)
class TLS:
    """PEM files of a TLS connection: the CA to trust (if none, the system's), and a client certificate with its key."""

    cacert: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise UsageError("a client certificate needs both its certificate and its key: give cert and key")

    def context(self) -> ssl.SSLContext:
        """Return the context, which checks the server's certificate and host name.

        Raises `UsageError` naming the file that can't be used.
        """
        context = self._trusting()
        if self.cert is not None and self.key is not None:
            try:
                context.load_cert_chain(self.cert, self.key)
            except (OSError, ssl.SSLError, ValueError) as error:
                raise UsageError(f"client certificate {self.cert} with key {self.key}: {_why(error)}") from error
        return context

    def _trusting(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.cacert)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise UsageError(f"CA file {self.cacert}: {_why(error)}") from error


@dataclass(frozen=True, slots=True)
class EtcdOptions:
    """Where etcd is and who we are there.

    `endpoints` are URLs (`http://host:port`, `https://host:port`) or `host:port`. `tls` matters where an endpoint is
    https; given without a scheme, an endpoint is https where `tls` is given. `timeout` is the seconds that one call
    may take, over all its endpoints and attempts.
    """

    endpoints: tuple[str, ...] = (DEFAULT_ENDPOINT,)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TLS | None = None
    timeout: float = 5.0

    def __post_init__(self) -> None:
        urls = tuple(dict.fromkeys(parse_endpoint(text, secure=self.tls is not None) for text in self.endpoints))
        if not urls:
            raise UsageError("no etcd endpoint is given: name at least one, for example http://127.0.0.1:2379")
        if self.user is not None and self.password is None:
            raise UsageError(f"etcd user {self.user!r} has no password: give both or neither")
        if not self.timeout > 0:
            raise UsageError(f"timeout {self.timeout} is out of range: give a number of seconds above 0")
        if self.tls is not None and all(url.startswith("http://") for url in urls):
            raise UsageError(
                f"TLS files are given, but no endpoint is https: {', '.join(urls)} would be talked to in clear"
            )
        object.__setattr__(self, "endpoints", urls)

    @classmethod
    def of(cls, etcd: str | Sequence[str] | EtcdOptions) -> EtcdOptions:
        """Return options from what callers like to write: a URL, URLs joined by commas, a list of them, or options."""
        if isinstance(etcd, EtcdOptions):
            return etcd
        parts = etcd.split(",") if isinstance(etcd, str) else etcd
        return cls(tuple(part.strip() for part in parts if part.strip()))


def parse_endpoint(text: str, *, secure: bool = False) -> str:
    """Return an endpoint as `scheme://host:port`, or raise `UsageError` saying what is wrong with it."""
    if "@" in text:  # before anything else, so that no error shows what stands before it
        raise UsageError("an etcd endpoint holds user or password: give them as settings of their own, not in the URL")
    url = text if "://" in text else f"{'https' if secure else 'http'}://{text}"
    shown = _shown(text)
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"etcd endpoint {shown!r} is not a URL: give it as http://host:port") from error
    try:
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError:
        raise UsageError(f"etcd endpoint {shown!r}: its port is not a number from 1 to 65535") from None
    _check_parts(shown, parts)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def check_start_timeout(seconds: float) -> float:
    """Return the seconds to wait for etcd at the start, or raise `UsageError`."""
    if not seconds > 0:
        raise UsageError(f"start_timeout {seconds} is out of range: give a number of seconds above 0")
    return seconds


def _shown(text: str) -> str:
    """Return an endpoint as an error may show it: up to its host and port. What else stands there can be a secret."""
    known = _PLAIN.match(text)
    end = known.end() if known else 0
    return text[:end] + "…" * (end < len(text))


def _check_parts(shown: str, parts: SplitResult) -> None:
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"etcd endpoint {shown!r}: scheme {parts.scheme!r} is not http or https")
    if parts.port == 0:
        raise UsageError(f"etcd endpoint {shown!r} has port 0: give it as http://host:port")
    if not parts.hostname or not parts.hostname.isprintable() or " " in parts.hostname:
        raise UsageError(f"etcd endpoint {shown!r} names no host: give it as http://host:port")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(f"etcd endpoint {shown!r} has a path: give only scheme, host and port")


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
