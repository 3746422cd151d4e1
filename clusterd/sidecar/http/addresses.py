"""Where a listener listens: `HOST:PORT`, `unix:PATH` or `off`, and the socket there."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clusterd.errors import Conflict, UsageError

OFF = "off"

_UNIX = "unix:"
_LONGEST_PATH = 100  # the kernel takes 107 bytes
_BACKLOG = 1024
_SOCKET_MODE = 0o660


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A place to listen at: a host and a port (0: any that is free), or the path of a Unix socket."""

    setting: str
    host: str = ""
    port: int = 0
    path: Path | None = None

    @classmethod
    def parse(cls, text: str, setting: str) -> ListenAddress | None:
        """Return the address that a setting means, None for `off`. Raises `UsageError` naming the setting."""
        if text == OFF:
            return None
        if text.startswith(_UNIX):
            return cls(setting, path=_socket_path(text, setting))
        host, colon, port = text.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        bracketed = host == f"[{bare}]"
        if not (colon and bare and port.isascii() and port.isdigit() and int(port) < 65536):
            raise UsageError(f"--{setting} {text!r} can't be used: give HOST:PORT, unix:PATH or off")
        if (":" in bare) is not bracketed or not bare.isprintable() or " " in bare:
            raise UsageError(f"--{setting} {text!r} has an unusable host: an IPv6 address goes in brackets, [::1]:8470")
        return cls(setting, bare, int(port))

    @property
    def private(self) -> bool:
        """Whether only this host's processes can connect: a Unix socket, or a loopback address."""
        if self.path is not None or self.host == "localhost":
            return True
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False

    def __str__(self) -> str:
        if self.path is not None:
            return f"{_UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @contextlib.contextmanager
    def bound(self) -> Iterator[socket.socket]:
        """Have a socket that listens there, closed afterwards. Raises `Conflict` where the place is taken.

        Raises `UsageError` where it can't be had for another reason. The file of a Unix socket that nobody listens at
        any more is replaced; afterwards it is removed.
        """
        with contextlib.closing(_unix_socket(self) if self.path else _tcp_socket(self)) as sock:
            try:
                yield sock
            finally:
                if self.path is not None:
                    self.path.unlink(missing_ok=True)


def _socket_path(text: str, setting: str) -> Path:
    path = text.removeprefix(_UNIX)
    if not path or "\0" in path or len(os.fsencode(path)) > _LONGEST_PATH:
        raise UsageError(f"--{setting} {text!r} can't be used: give a path of 1 to {_LONGEST_PATH} bytes after unix:")
    return Path(path)


def _tcp_socket(address: ListenAddress) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise _refusal(address, error) from error
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return _listening(address, sock, where)


def _unix_socket(address: ListenAddress) -> socket.socket:
    path = os.fspath(address.path or "")
    _clear(address, path)
    sock = _listening(address, socket.socket(socket.AF_UNIX), path)
    Path(path).chmod(_SOCKET_MODE)
    return sock


def _clear(address: ListenAddress, path: str) -> None:
    """Remove what a daemon that was killed left there; whatever else is there stays."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            raise _taken(address)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
        raise _taken(address)
    except ConnectionRefusedError:
        Path(path).unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _refusal(address, error) from error


def _listening(address: ListenAddress, sock: socket.socket, where: object) -> socket.socket:
    try:
        sock.setblocking(False)
        sock.bind(where)  # type: ignore[arg-type]
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise _refusal(address, error) from error
    return sock


def _taken(address: ListenAddress) -> Conflict:
    return Conflict(
        f"--{address.setting} {address} is taken by another process: choose another place (port 0 takes a free one), "
        f"or --{address.setting} {OFF}"
    )


def _refusal(address: ListenAddress, error: OSError) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return _taken(address)
    return UsageError(f"--{address.setting} {address}: can't listen there: {(error.strerror or str(error)).lower()}")
