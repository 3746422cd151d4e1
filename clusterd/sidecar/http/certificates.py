"""The certificate that control is served with, loaded again when its files change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from clusterd.errors import UsageError
from clusterd.sidecar.http.tokens import stamp

log = logging.getLogger(__name__)


class Certificate:
    """A certificate and its key, from files that may be renewed while they are in use.

    One that can't be used leaves the last one in use. Raises `UsageError` if it is so at the start.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._files = cert, key
        self._stamps = tuple(map(stamp, self._files))
        self._current = _load(cert, key)
        self.context = _load(cert, key)
        """What to listen with: each handshake gets the certificate that is current then."""
        self.context.sni_callback = self._present

    def _present(self, connection: ssl.SSLSocket | ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        """Give a handshake the current certificate; it is called for each one, with a server name or without."""
        stamps = tuple(map(stamp, self._files))
        if stamps != self._stamps:
            self._stamps = stamps
            try:
                self._current = _load(*self._files)
                log.info("%s has changed: loaded again", self._files[0])
            except UsageError as error:
                log.warning("%s: the last one stays in use", error)
        connection.context = self._current


def _load(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # an SSLError is one
        raise UsageError(f"--control-cert {cert}, --control-key {key}: {error.strerror or error}") from error
    return context
