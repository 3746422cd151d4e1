"""One etcd member as an operating system process: started, watched, stopped, paused, killed, started again."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import aiohttp

from clusterd.child import STOP_GRACE, Child, ChildError
from clusterd.errors import ClusterdError

START_TIMEOUT = 15.0
"""Seconds that an etcd has to answer after its start."""

_POLL_SECONDS = 0.02
_PROBE_SECONDS = 1.0
_LOG_TAIL_LINES = 8
# Below the ephemeral ports of Linux (32768) and macOS (49152): no outgoing connection can sit on one of these while the
# server that it belongs to is down.
_PORTS = range(20_000, 32_000)


class EtcdStartError(ClusterdError):
    """An etcd ended while it started, or didn't answer in time; the message holds the end of its log."""


class EtcdPortInUse(EtcdStartError):
    """An etcd could not have one of its ports, because another process has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Who an etcd member is: what it is called, where it is reached, and with whom it forms a cluster.

    `peers` is etcd's `--initial-cluster`, `name=url,…`; empty for a member on its own. `token` goes into the id of a
    new cluster. `flags` are further command-line flags; `wrapper` is a command that runs the etcd, such as
    `ip netns exec NAME`.
    """

    client_url: str
    peer_url: str
    name: str = "default"
    peers: str = ""
    token: str = "etcd-cluster"  # noqa: S105 - etcd calls it so; nothing secret
    flags: tuple[str, ...] = ()
    wrapper: tuple[str, ...] = ()

    @classmethod
    def on_loopback(cls, client_port: int, peer_port: int, *, name: str = "default", tls: bool = False) -> Member:
        """Return a member that listens on 127.0.0.1; with `tls`, clients use https."""
        scheme = "https" if tls else "http"
        return cls(
            name=name,
            client_url=f"{scheme}://127.0.0.1:{client_port}",
            peer_url=f"http://127.0.0.1:{peer_port}",
        )

    @property
    def initial_cluster(self) -> str:
        """etcd's `--initial-cluster`."""
        return self.peers or f"{self.name}={self.peer_url}"

    def with_flags(self, *flags: str) -> Member:
        """Return the same member with these flags added."""
        return replace(self, flags=(*self.flags, *flags))

    def command(self, binary: Path, data: Path) -> list[str]:
        """Return the command line that runs it on the folder `data`."""
        return [
            *self.wrapper,
            os.fspath(binary),
            *("--name", self.name),
            *("--data-dir", os.fspath(data)),
            *("--listen-client-urls", self.client_url),
            *("--advertise-client-urls", self.client_url),
            *("--listen-peer-urls", self.peer_url),
            *("--initial-advertise-peer-urls", self.peer_url),
            *("--initial-cluster", self.initial_cluster),
            *("--initial-cluster-token", self.token),
            *self.flags,
        ]


class EtcdProcess:
    """One etcd member as a process of its own, in `directory`: its data, and its log `etcd.log`.

    `ssl_context` is for the health checks, where clients use https. It can be started again after it ended in whatever
    way, on the same data and ports. An async context manager: started inside, stopped after.
    """

    def __init__(
        self, binary: Path, member: Member, directory: Path, *, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self.binary = binary
        self.member = member
        self.directory = directory
        self.ssl_context = ssl_context
        self._child: Child | None = None
        self._log_start = 0

    @property
    def endpoint(self) -> str:
        """The URL for clients."""
        return self.member.client_url

    @property
    def data(self) -> Path:
        """The folder that holds etcd's data."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """The file that holds etcd's log, of all its runs."""
        return self.directory / "etcd.log"

    @property
    def running(self) -> bool:
        """Whether the process is there; a paused one is."""
        return self._child is not None and self._child.running

    @property
    def pid(self) -> int:
        """The process id. Raises `ChildError` before the first start."""
        return self._started().pid

    async def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start it and wait until it is healthy. On any failure, or when cancelled, nothing is left running.

        Raises `EtcdPortInUse` or `EtcdStartError`.
        """
        await self.launch()
        try:
            await self.wait_healthy(timeout)
        except BaseException:
            await self.kill()
            raise

    async def launch(self) -> None:
        """Start it without waiting: a member of a cluster is healthy only when others are there.

        Raises `ChildError` if it already runs, or can't be executed.
        """
        if self.running:
            raise ChildError(f"the etcd at {self.endpoint} already runs, as process {self.pid}")
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._child = await Child.spawn(
                self.member.command(self.binary, self.data), stdout=log, stderr=log, env=_environment()
            )

    async def wait_healthy(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until it answers GET /health with true: it serves, and its cluster has a leader.

        Raises `EtcdPortInUse` or `EtcdStartError` if it ends, or isn't healthy after `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout), aiohttp.ClientSession() as session:
                while not await self._healthy(session):  # noqa: ASYNC110 - only asking tells
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise EtcdStartError(
                f"the etcd at {self.endpoint} was not healthy within {timeout:g} s; its log ends:\n{self.log_tail()}"
            ) from None

    async def stop(self, grace: float = STOP_GRACE) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds. Does nothing if it doesn't run."""
        if self._child is not None:
            await self._child.stop(grace)

    async def kill(self) -> None:
        """SIGKILL. Does nothing if it doesn't run."""
        if self._child is not None:
            await self._child.kill()

    async def restart(self, timeout: float = START_TIMEOUT) -> None:
        """Stop it and start it again, on the same data and ports. Raises as `start` does."""
        await self.stop()
        await self.start(timeout)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers. Raises `ChildError` if it doesn't run."""
        self._started().pause()

    def resume(self) -> None:
        """SIGCONT. Raises `ChildError` if it doesn't run."""
        self._started().resume()

    def remove_data(self) -> None:
        """Remove its data, so that it starts empty. Raises `ChildError` while it runs."""
        if self.running:
            raise ChildError(f"the etcd at {self.endpoint} runs: stop it before its data is removed")
        shutil.rmtree(self.data, ignore_errors=True)

    def log_tail(self, lines: int = _LOG_TAIL_LINES) -> str:
        """Return the last lines of the log of the latest run."""
        return "\n".join(self._log_of_run().splitlines()[-lines:])

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _started(self) -> Child:
        if self._child is None:
            raise ChildError(f"the etcd at {self.endpoint} has not been started")
        return self._child

    async def _healthy(self, session: aiohttp.ClientSession) -> bool:
        if not self.running:
            self._raise_ended()
        try:
            async with session.get(
                self.endpoint + "/health",
                ssl=self.ssl_context or True,
                timeout=aiohttp.ClientTimeout(total=_PROBE_SECONDS),
            ) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise EtcdStartError(f"the etcd at {self.endpoint} can't be checked over TLS: {error}") from error
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False
        return isinstance(answer, dict) and answer.get("health") == "true"

    def _raise_ended(self) -> None:
        log = self._log_of_run()
        kind = EtcdPortInUse if "address already in use" in log else EtcdStartError
        raise kind(
            f"the etcd at {self.endpoint} ended with code {self._started().returncode} as it started; "
            f"its log ends:\n{self.log_tail()}"
        )

    def _log_of_run(self) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""


def free_ports(count: int) -> Sequence[int]:
    """Return `count` TCP ports of 127.0.0.1 that were free just now: others can still be faster, so be ready to retry.

    Raises `ClusterdError` if hardly any port is free.
    """
    candidates = random.sample(_PORTS, min(len(_PORTS), 100 * count))
    found = [port for port in candidates[: 10 * count] if _is_free(port)] or [p for p in candidates if _is_free(p)]
    if len(found) < count:
        raise ClusterdError(f"no {count} free ports between {_PORTS.start} and {_PORTS.stop} on 127.0.0.1")
    return found[:count]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _environment() -> dict[str, str]:
    # etcd reads ETCD_* as flags: what is meant for clients of another etcd must not change this one.
    return {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
