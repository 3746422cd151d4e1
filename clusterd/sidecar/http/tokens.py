"""Bearer tokens from a file, read again when it changes."""

from __future__ import annotations

import hashlib
import hmac
import logging
from pathlib import Path

from clusterd.errors import UsageError

log = logging.getLogger(__name__)

_SHORTEST = 16
_LARGEST = 64 * 1024


class TokenFile:
    """The tokens that a file has, a line each: several, so that one can be replaced while it is in use.

    A file that can't be read any more, or has no usable token, lets nobody in. Raises `UsageError` if it is so at the
    start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = stamp(path)
        self._digests = _read(path)

    def __repr__(self) -> str:
        return f"<TokenFile {self._path}>"

    def accepts(self, token: str) -> bool:
        """Whether this is one of the tokens, found out in a time that doesn't depend on how much of it is right."""
        self._refresh()
        digest = _digest(token.encode("utf-8", "surrogateescape"))
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(digest, known)
        return found

    def _refresh(self) -> None:
        now = stamp(self._path)
        if now == self._stamp:
            return
        try:
            self._digests = _read(self._path)
            log.info("%s has changed: read again", self._path)
        except UsageError as error:
            self._digests = ()
            log.warning("%s: nobody is let in until that is mended", error)
        self._stamp = now


def stamp(path: Path) -> tuple[int, ...]:
    """Return what differs when the file is another one, or has been written."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size


def _read(path: Path) -> tuple[bytes, ...]:
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(f"token file {path} is larger than {_LARGEST} bytes")
        tokens = path.read_bytes().split()
    except OSError as error:
        raise UsageError(f"token file {path}: {(error.strerror or str(error)).lower()}") from error
    if not tokens or min(map(len, tokens)) < _SHORTEST:
        raise UsageError(f"token file {path}: give a token of at least {_SHORTEST} characters on a line of its own")
    return tuple(map(_digest, tokens))


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
