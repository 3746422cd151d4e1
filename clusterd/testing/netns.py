"""An etcd cluster whose members can be cut off from each other while clients still reach them (Linux, root).

Each member lives in a network namespace of its own, with two interfaces: one to the network of the peers, one to that
of the clients. Both networks are bridges in one more namespace, so that no firewall of the host stands between.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from clusterd.errors import ClusterdError
from clusterd.etcd.process import Member
from clusterd.testing.binaries import EtcdBinary
from clusterd.testing.cluster import EtcdCluster
from clusterd.testing.tools import run_tool

if TYPE_CHECKING:
    from clusterd.testing.certs import Certificates

_CLIENT_PORT = 2379
_PEER_PORT = 2380
# 198.18.0.0/15 is set aside for tests of network devices (RFC 2544): nobody's real network is in it.
_PEER_NETWORK = "198.19.0"


class PartitionableCluster(EtcdCluster):
    """An `EtcdCluster` of three members, each on a network of its own: `partition` and `heal` act on one member.

    Clients on this machine reach every member all the time. With `certificates`, a directory, clients use https, with
    certificates for these addresses and 127.0.0.1 that are made there (`tls`). Entering raises `ClusterdError` where
    namespaces can't be had; `netns_available` tells before.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        binary: EtcdBinary | None = None,
        flags: Sequence[str] = (),
        quota_bytes: int = 0,
        certificates: Path | None = None,
    ) -> None:
        self._net = _Networks(size, tls=certificates is not None)
        tls = _certificates(certificates, self._net.hosts) if certificates else None
        super().__init__(size, binary=binary, flags=flags, quota_bytes=quota_bytes, tls=tls)

    async def partition(self, member: int) -> None:
        """Cut a member off from all other members, both ways."""
        await self._net.set_peer_link(member, "down")

    async def heal(self, member: int) -> None:
        """Let a member reach the others again."""
        await self._net.set_peer_link(member, "up")

    async def close(self) -> None:
        """Kill the members, and remove all that they left behind, the networks too."""
        try:
            await super().close()
        finally:
            await self._net.remove()

    async def __aenter__(self) -> Self:
        available, reason = netns_available()
        if not available:
            raise ClusterdError(reason)
        try:
            await self._net.create()
        except BaseException:
            await self._net.remove()
            raise
        return await super().__aenter__()

    def _make_members(self) -> list[Member]:
        return [self._net.member(number) for number in range(self._size)]


class _Networks:
    """The namespaces of one cluster: `hub` with both bridges, and one for each member."""

    def __init__(self, size: int, *, tls: bool) -> None:
        self._scheme = "https" if tls else "http"
        self._name = f"cd{random.randrange(16**6):06x}"  # noqa: S311 - to be unique, not secret
        self._size = size
        # One of 4096 networks with room for 14 hosts: clusters side by side hardly ever meet.
        network = random.randrange(4096) * 16  # noqa: S311
        self._client_network = f"198.18.{network // 256}"
        self._client_base = network % 256

    @property
    def hosts(self) -> list[str]:
        """The addresses at which clients reach the members."""
        return [self._client_address(number + 2) for number in range(self._size)]

    def member(self, number: int) -> Member:
        return Member(
            name=f"m{number + 1}",
            client_url=f"{self._scheme}://{self._client_address(number + 2)}:{_CLIENT_PORT}",
            peer_url=f"http://{_PEER_NETWORK}.{number + 1}:{_PEER_PORT}",
            wrapper=("ip", "netns", "exec", self._member_namespace(number)),
        )

    async def create(self) -> None:
        await self._ip(*(f"netns add {name}" for name in self._namespaces()))
        await self._ip(
            "link set lo up",
            *(f"link add {bridge} type bridge" for bridge in ("peers", "clients")),
            *(f"link set {bridge} up" for bridge in ("peers", "clients")),
            namespace=self._hub,
        )
        await self._ip(
            f"link add {self._name} type veth peer name host netns {self._hub}",
            f"addr add {self._client_address(1)}/28 dev {self._name}",
            f"link set {self._name} up",
        )
        await self._ip("link set host master clients up", namespace=self._hub)
        for number in range(self._size):
            await self._connect(number)

    async def set_peer_link(self, number: int, state: str) -> None:
        await self._ip(f"link set peer{number} {state}", namespace=self._hub)

    async def remove(self) -> None:
        present = {line.split()[0] for line in (await run_tool(["ip", "netns", "list"])).splitlines()}
        await self._ip(*(f"netns del {name}" for name in self._namespaces() if name in present))

    @property
    def _hub(self) -> str:
        return f"{self._name}-hub"

    def _namespaces(self) -> list[str]:
        return [self._hub, *map(self._member_namespace, range(self._size))]

    def _member_namespace(self, number: int) -> str:
        return f"{self._name}-m{number + 1}"

    def _client_address(self, host: int) -> str:
        return f"{self._client_network}.{self._client_base + host}"

    async def _connect(self, number: int) -> None:
        namespace = self._member_namespace(number)
        await self._ip(
            f"link add peer{number} type veth peer name peers netns {namespace}",
            f"link add client{number} type veth peer name clients netns {namespace}",
            f"link set peer{number} master peers up",
            f"link set client{number} master clients up",
            namespace=self._hub,
        )
        await self._ip(
            "link set lo up",
            f"addr add {_PEER_NETWORK}.{number + 1}/24 dev peers",
            f"addr add {self._client_address(number + 2)}/28 dev clients",
            "link set peers up",
            "link set clients up",
            namespace=namespace,
        )

    async def _ip(self, *commands: str, namespace: str = "") -> None:
        within = ["-n", namespace] if namespace else []
        for command in commands:
            await run_tool(["ip", *within, *command.split()])


def _certificates(directory: Path, hosts: Sequence[str]) -> Certificates:
    from clusterd.testing.certs import LOOPBACK, make_certificates

    return make_certificates(directory, hosts=(*LOOPBACK, *hosts))


@functools.cache
def netns_available() -> tuple[bool, str]:
    """Return whether network namespaces with virtual links can be had here, and if not, why."""
    if sys.platform != "linux":
        return False, "network namespaces are a thing of Linux"
    if os.geteuid() != 0:
        return False, "network namespaces need root"
    if shutil.which("ip") is None:
        return False, "network namespaces need the command ip (Debian's package: iproute2)"
    probe = f"cdprobe{os.getpid()}"
    try:
        return _try_namespace(probe)
    finally:
        _quietly("ip", "netns", "del", probe)


def _try_namespace(name: str) -> tuple[bool, str]:
    for command in (
        f"ip netns add {name}",
        f"ip -n {name} link add bridge0 type bridge",
        f"ip -n {name} link add veth0 type veth peer name veth1",
    ):
        answer = _quietly(*command.split())
        if answer.returncode:
            return False, f"network namespaces don't work here: {command}: {answer.stderr.strip()}"
    return True, ""


def _quietly(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
