"""What a Kubernetes preStop hook runs beside the daemon: drain, wait, and let the gateway's own hook know."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
import msgspec
import tenacity

from clusterd.aio import Deadline
from clusterd.errors import ClusterdError, Conflict, UsageError, WaitTimeout
from clusterd.sidecar.http.answers import ErrorDocument
from clusterd.sidecar.http.documents import DrainDocument
from clusterd.status import DrainProgress, Phase

_CALL_SECONDS = 3.0
_LOOK_AGAIN = 0.25
_RESERVE = 2.0  # seconds that sessions get to go, once forced, before the time is up
_FULL_JITTER = tenacity.wait_random_exponential(multiplier=0.1, max=1.0)
_REACH_SECONDS = 5.0


class DaemonGone(ClusterdError):
    """The daemon's control listener doesn't answer."""

    exit_code = 3


class SessionsLeft(ClusterdError):
    """Sessions were forced, or are left, at the deadline."""

    exit_code = 6


class MarkerMissing(WaitTimeout):
    """The file that was waited for didn't come."""


@dataclass(frozen=True, slots=True)
class ControlAddress:
    """The daemon's control listener, as its own setting `--control` names it, or as a URL."""

    url: str
    socket: str = ""

    @classmethod
    def parse(cls, text: str) -> ControlAddress:
        """Return the address: `HOST:PORT`, `unix:PATH`, `http://…` or `https://…`. Raises `UsageError`."""
        if text.startswith("unix:") and len(text) > len("unix:"):
            return cls("http://clusterd", text.removeprefix("unix:"))
        url = text if text.startswith(("http://", "https://")) else f"http://{text}"
        host = url.partition("://")[2].rstrip("/")
        if text == "off" or not host or any(char in host for char in "/ @?#"):
            raise UsageError(f"--control {text!r} can't be used: give HOST:PORT, unix:PATH or a URL")
        return cls(url.rstrip("/"))

    def connector(self, cacert: Path | None) -> aiohttp.BaseConnector:
        """Return what connects to it, trusting that CA file where one is given. Raises `UsageError`."""
        if self.socket:
            return aiohttp.UnixConnector(self.socket)
        try:
            context = ssl.create_default_context(cafile=cacert) if cacert else True
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"CA file {cacert}: {_why(error)}") from error
        return aiohttp.TCPConnector(ssl=context)


class ControlClient:
    """Calls the control listener for one drain; an async context manager."""

    def __init__(self, address: ControlAddress, token: str | None, cacert: Path | None) -> None:
        self._address = address
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._cacert = cacert
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        session = aiohttp.ClientSession(
            connector=self._address.connector(self._cacert),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=_CALL_SECONDS),
        )
        self._session = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def drain(self, deadline: float, terms: Mapping[str, float]) -> DrainProgress | None:
        """Begin the drain, and return how it goes. Raises `DaemonGone`, `Conflict`."""
        return await self._call("POST", {"deadline": deadline, "reason": "preStop", **terms})

    async def progress(self) -> DrainProgress | None:
        """Return how the drain goes. Raises `DaemonGone`, `Conflict`."""
        return await self._call("GET", None)

    async def _call(self, method: str, document: object) -> DrainProgress | None:
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(DaemonGone),
            wait=_FULL_JITTER,
            stop=tenacity.stop_after_delay(_REACH_SECONDS),
            reraise=True,
        )
        return await retrying(self._attempt, method, document)

    async def _attempt(self, method: str, document: object) -> DrainProgress | None:
        try:
            url = f"{self._address.url}/v1/self/drain"
            async with self._session.request(method, url, json=document) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise DaemonGone(f"the daemon can't be reached at {self._shown}: {_why(error)}") from error
        if response.status == 503:
            raise DaemonGone(f"the daemon at {self._shown} is not ready: {_message(body)}")
        if response.status >= 300:
            raise Conflict(f"the daemon at {self._shown} refused ({response.status}): {_message(body)}")
        return msgspec.json.decode(body, type=DrainDocument).drain

    @property
    def _shown(self) -> str:
        return f"unix:{self._address.socket}" if self._address.socket else self._address.url


async def drain_and_wait(
    client: ControlClient, seconds: float, say: Callable[[str], None], terms: Mapping[str, float] | None = None
) -> DrainProgress:
    """Drain this node, and wait until it is drained, `seconds` at the most; returns how that ended.

    `terms` are `settle`, `rate` and `over`, as far as they are asked for.

    Raises `SessionsLeft`, `DaemonGone`, `Conflict`.
    """
    until, last = Deadline.after(seconds), ""
    progress = await client.drain(max(seconds - _RESERVE, seconds / 2), terms or {})
    while progress is not None and progress.phase is not Phase.DRAINED and not until.expired:
        if (line := _line(progress)) != last:
            say(line)
            last = line
        await asyncio.sleep(_LOOK_AGAIN)
        progress = await client.progress()
    if progress is None:
        raise SessionsLeft("the drain was taken back")
    if progress.phase is not Phase.DRAINED:
        raise SessionsLeft(f"not drained within {seconds:g} s: {_line(progress)}")
    if progress.forced:
        raise SessionsLeft(f"drained, and sessions were forced at the deadline: {progress.moved} moved")
    return progress


@contextlib.contextmanager
def marked_at_end(marker: Path | None) -> Iterator[None]:
    """Write the marker file when the body ends, whatever it ends by: the gateway's own hook waits for it.

    It is whole or not there, and holds a word on how that went. Raises `UsageError` where it can't be written.
    """
    outcome = "interrupted"
    try:
        yield
        outcome = "drained"
    except ClusterdError as error:
        outcome = f"failed: {error}"
        raise
    finally:
        if marker is not None:
            _write(marker, outcome)


async def wait_for_marker(marker: Path, seconds: float) -> None:
    """Wait until the file is there. Raises `MarkerMissing` after so many seconds."""
    until = Deadline.after(seconds)
    while not marker.exists():  # noqa: ASYNC240 - one stat, of a file in memory or on a local disk
        if until.expired:
            raise MarkerMissing(f"marker file {marker} did not come within {seconds:g} s")
        await asyncio.sleep(min(_LOOK_AGAIN, until.remaining + 0.01))


def read_token(path: Path) -> str:
    """Return the first token of a token file. Raises `UsageError` naming the file."""
    try:
        token = path.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"token file {path}: {_why(error)}") from error
    if not token:
        raise UsageError(f"token file {path} is empty")
    return token[0]


def _write(marker: Path, outcome: str) -> None:
    try:
        handle, path = tempfile.mkstemp(dir=marker.parent, prefix=f".{marker.name}.")
        with os.fdopen(handle, "w") as file:
            file.write(f"{outcome}\n")
        Path(path).chmod(0o644)  # whoever waits for it is another user
        Path(path).replace(marker)
    except OSError as error:
        raise UsageError(f"marker file {marker}: {_why(error)}") from error


def _line(progress: DrainProgress) -> str:
    left = "?" if progress.left is None else progress.left
    blocked = f", waits for: {progress.blocked_by}" if progress.blocked_by else ""
    return f"{progress.phase.value}, {progress.moved} sessions moved, {left} left{blocked}"


def _message(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=ErrorDocument).message
    except msgspec.MsgspecError:
        return "an answer that is not clusterd's: check the address"


def _why(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    number = getattr(getattr(error, "os_error", error), "errno", None)
    return os.strerror(number).lower() if number else str(error) or type(error).__name__
