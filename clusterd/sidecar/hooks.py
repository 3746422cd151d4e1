"""Hooks: the gateway's own HTTP endpoints, which the daemon calls to have sessions closed, and to count them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec
import tenacity
from prometheus_client import Histogram

from clusterd import tracing
from clusterd.aio import run_together
from clusterd.errors import ClusterdError, UsageError
from clusterd.metrics import SECONDS
from clusterd.sidecar.gateway import FORGET_SECONDS, Gateway
from clusterd.sidecar.http.documents import EvictionDocument, HookDocument

log = logging.getLogger(__name__)

ATTEMPT_SECONDS = 5.0
"""For how long a hook may think about one request."""
CALL_SECONDS = 12.0
"""For how long a call is tried again, before it counts as failed."""
POLL_SECONDS = 5.0
POLL_SECONDS_DRAINING = 0.5

_LEAST_SECONDS = 0.5
_LARGEST_ANSWER = 64 * 1024
_UNIX = re.compile(r"unix:(?P<socket>[^:\0]{1,100})(:(?P<path>/[^\0]*))?")
# Full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
_FULL_JITTER = tenacity.wait_random_exponential(multiplier=0.1, max=2.0)

Name = Literal["drain", "sessions"]


class HookFailed(ClusterdError):
    """A hook didn't do what it was asked for."""


class _Passing(HookFailed):
    """It may work when asked again: nobody there, an answer of 5xx or 429."""


class _TimedOut(_Passing):
    """It did not answer in time."""


@dataclass(frozen=True, slots=True)
class HookAddress:
    """Where a hook is: a URL, reached through a Unix socket if there is one."""

    url: str
    socket: str = ""

    @classmethod
    def parse(cls, text: str, setting: str) -> HookAddress:
        """Return what `http(s)://HOST[:PORT]/PATH` or `unix:SOCKET[:/PATH]` means. Raises `UsageError`."""
        if match := _UNIX.fullmatch(text):
            return cls(f"http://gateway{match['path'] or '/'}", match["socket"])
        try:
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or not text.isprintable() or " " in text:
            raise UsageError(f"--{setting}: the value can't be used: give http://HOST:PORT/PATH or unix:SOCKET:/PATH")
        if parts.username is not None or parts.fragment:
            raise UsageError(f"--{setting}: the URL holds a user, a password or a fragment: leave them out")
        return cls(text)

    def __str__(self) -> str:
        """Return what may be shown: not the query, in which a secret may be."""
        parts = urlsplit(self.url)
        return f"unix:{self.socket}:{parts.path}" if self.socket else f"{parts.scheme}://{parts.netloc}{parts.path}"

    def connector(self) -> aiohttp.BaseConnector:
        """Return what connects to it."""
        return aiohttp.UnixConnector(self.socket) if self.socket else aiohttp.TCPConnector()


@dataclass(slots=True)
class HookCalls:
    """What the calls of hooks came to: by hook and outcome, and how long they took."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: Histogram = field(
        default_factory=lambda: Histogram(
            "clusterd_hook_request_duration_seconds",
            "Time that calls of the gateway's hooks took",
            ["hook"],
            buckets=SECONDS,
            registry=None,
        )
    )

    @contextlib.contextmanager
    def counted(self, hook: Name) -> Iterator[None]:
        """Count one request, by how the body ends."""
        began, outcome = time.monotonic(), "ok"
        try:
            yield
        except _TimedOut:
            outcome = "timeout"
            raise
        except _Passing:
            outcome = "failed"
            raise
        except HookFailed:
            outcome = "refused"
            raise
        finally:
            self.outcomes[hook, outcome] += 1
            self.seconds.labels(hook).observe(time.monotonic() - began)


class Hook:
    """One endpoint of the gateway's; an async context manager."""

    def __init__(self, name: Name, address: HookAddress, calls: HookCalls) -> None:
        self.name = name
        self._address = address
        self._calls = calls
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(connector=self._address.connector(), timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, body: bytes | None, seconds: float) -> HookDocument:
        """GET, or POST a body, and return the answer. Tries again for so many seconds what may pass.

        A call has one Idempotency-Key, however often it is tried. Raises `HookFailed`.
        """
        headers = {"Idempotency-Key": uuid.uuid4().hex, "Content-Type": "application/json"} if body is not None else {}
        span = tracing.begin(f"clusterd.hook.{self.name}", tracing.current()) if body is not None else None
        if span is not None and span.traceparent:
            headers["traceparent"] = span.traceparent
        failure = "cancelled"
        try:
            answer = await self._insist(body, headers, time.monotonic() + seconds)
            failure = ""
        except HookFailed as error:
            failure = str(error)
            raise
        finally:
            if span is not None:
                span.end(failure)
        return answer

    async def count(self) -> int:
        """Return how many sessions there are. Raises `HookFailed`."""
        count = (await self.call(None, ATTEMPT_SECONDS)).count
        if count is None:
            raise HookFailed(f"{self}: its answer has no number of sessions")
        return count

    async def _insist(self, body: bytes | None, headers: dict[str, str], until: float) -> HookDocument:
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Passing),
            wait=_FULL_JITTER,
            stop=lambda _: time.monotonic() >= until,
            reraise=True,
        )
        return await retrying(self._attempt, body, headers, until)

    async def _attempt(self, body: bytes | None, headers: dict[str, str], until: float) -> HookDocument:
        seconds = min(ATTEMPT_SECONDS, max(until - time.monotonic(), _LEAST_SECONDS))
        with self._calls.counted(self.name):
            try:
                async with asyncio.timeout(seconds):
                    return await self._ask(body, headers)
            except TimeoutError:
                raise _TimedOut(f"{self}: no answer within {seconds:.1f} s") from None
            except (aiohttp.ClientError, OSError) as error:
                raise _Passing(f"{self}: {_why(error)}") from error

    async def _ask(self, body: bytes | None, headers: dict[str, str]) -> HookDocument:
        assert self._session is not None  # noqa: S101 - entered
        method, url = "GET" if body is None else "POST", self._address.url
        async with self._session.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
            if response.status == 429 or response.status >= 500:
                raise _Passing(f"{self}: answered {response.status}")
            if not 200 <= response.status < 300:
                raise HookFailed(f"{self}: answered {response.status}: it refuses what it is asked")
            return self._read(await response.content.read(_LARGEST_ANSWER))

    def _read(self, body: bytes) -> HookDocument:
        """Return what the gateway answered: an object, a bare number, or nothing."""
        try:
            number = body.strip()
            if number.isdigit():
                return HookDocument(sessions=int(number[:16]))
            return msgspec.json.decode(body, type=HookDocument) if number else HookDocument()
        except msgspec.MsgspecError as error:
            if self.name == "drain":  # what it says of itself is its own affair; that it took the batch is what counts
                return HookDocument()
            raise HookFailed(f"{self}: its answer is no number of sessions: {error}") from error

    def __str__(self) -> str:
        return f"{self.name} hook {self._address}"


class HookMover:
    """Has sessions closed by the gateway's drain hook; its answer may say how many are left."""

    def __init__(self, hook: Hook, gateway: Gateway) -> None:
        self._hook = hook
        self._gateway = gateway

    async def evict(self, eviction: EvictionDocument) -> None:
        """Ask for one batch. Raises `HookFailed` where that can't be had before the drain's deadline."""
        left = eviction.seconds_left
        seconds = CALL_SECONDS if eviction.forced or left is None else min(CALL_SECONDS, left)
        answer = await self._hook.call(msgspec.json.encode(eviction), seconds)
        if answer.count is not None:
            self._gateway.report(answer.count)

    def over(self) -> None:
        """Nothing to take back: what was asked for is done when it is answered."""


class Hooks:
    """The gateway's hooks, as far as the settings name them. Raises `UsageError` for what can't be one."""

    def __init__(self, drain_hook: str | None, sessions_hook: str | None, gateway: Gateway) -> None:
        self.calls = HookCalls()
        self._gateway = gateway
        self._drain = self._hook("drain", drain_hook)
        self._sessions = self._hook("sessions", sessions_hook)

    @contextlib.asynccontextmanager
    async def attached(self) -> AsyncIterator[None]:
        """Have the hooks in use for the time of the body: drains go through the one, counts come from the other."""
        async with contextlib.AsyncExitStack() as stack:
            if self._sessions is not None:
                await stack.enter_async_context(self._sessions)
                self._gateway.forget()
            if self._drain is not None:
                mover = HookMover(await stack.enter_async_context(self._drain), self._gateway)
                stack.enter_context(self._gateway.attach(mover))
            yield

    async def run(self) -> None:
        """Count the sessions by their hook, for ever."""
        if self._sessions is not None:
            await run_together(**{"clusterd sessions hook": self._poll_for_ever(self._sessions)})

    async def _poll_for_ever(self, hook: Hook) -> None:
        known, trouble = time.monotonic(), ""
        while True:
            try:
                self._gateway.report(await hook.count())
                known, trouble = time.monotonic(), ""
            except HookFailed as error:
                if str(error) != trouble:
                    log.warning("%s", error)
                trouble = str(error)
                if time.monotonic() - known >= FORGET_SECONDS:
                    self._gateway.forget(trouble)
            await asyncio.sleep(POLL_SECONDS_DRAINING if self._gateway.draining else POLL_SECONDS)

    def _hook(self, name: Name, text: str | None) -> Hook | None:
        return None if text is None else Hook(name, HookAddress.parse(text, f"{name}-hook"), self.calls)


def _why(error: BaseException) -> str:
    number = getattr(getattr(error, "os_error", error), "errno", None)
    return os.strerror(number).lower() if number else type(error).__name__
