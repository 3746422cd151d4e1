"""One token for all calls of a client: fetched once however many calls need it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from clusterd.etcd.errors import AuthNotEnabled, LoginRefused

Login = Callable[[], Awaitable[str]]


class TokenSource:
    """Holds the token, and logs in when there is none or the one in use has expired.

    Authenticate is a raft write, and costs a password's hash: calls that find the token expired together cause one
    login, and who gives up on it leaves it to the next. After a refusal `refusal_seconds` pass before etcd is asked
    again, so that a wrong password doesn't become a load. Whoever makes one ends it with `close`.
    """

    def __init__(self, login: Login | None, refusal_seconds: float = 10.0) -> None:
        self._login = login
        self._running: asyncio.Task[None] | None = None
        self._refusal_seconds = refusal_seconds
        self._refused: LoginRefused | None = None
        self._refused_until = 0.0
        self.token: str | None = None
        self.logins = 0

    @property
    def enabled(self) -> bool:
        """Whether there are credentials to log in with."""
        return self._login is not None

    async def get(self) -> str | None:
        """Return the token, after a login if there is none yet; None where none is needed."""
        if self._login is not None and self.token is None:
            await self.renew(None)
        return self.token

    async def renew(self, expired: str | None) -> None:
        """Replace the token `expired`; if another call has done that meanwhile, nothing is left to do.

        Raises `LoginRefused`, from memory if the last refusal is recent, and what the login raises.
        """
        if self._login is None or (self.token is not None and self.token != expired):
            return
        if self._refused is not None and time.monotonic() < self._refused_until:
            raise LoginRefused(str(self._refused))
        if self._running is None:
            self._running = asyncio.create_task(self._log_in(self._login), name="clusterd login")
            self._running.add_done_callback(self._ended)
        try:
            await asyncio.shield(self._running)
        except LoginRefused as error:  # several may wait for it: each gets an error of its own
            raise LoginRefused(str(error)) from error

    def met(self, raft_index: int) -> None:
        """Take note of how far a member's log goes, and forget a token that was made further on: etcd lost that login.

        It doesn't say so. A simple token (`RANDOM.INDEX`) names the index of its login, and a member that was set back
        by a snapshot waits with each call that brings one, until it gets there again
        (etcd, server/auth/store.go, isValidSimpleToken).
        """
        _, dot, index = (self.token or "").partition(".")
        if dot and index.isdecimal() and int(index) > raft_index > 0:
            self.token = None

    async def close(self) -> None:
        """End a login that nobody waits for any more."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _log_in(self, login: Login) -> None:
        self.token = None
        self.logins += 1
        try:
            self.token = await login()
        except AuthNotEnabled:
            self.token = ""  # this etcd asks for no login: etcdctl goes on without one as well
        except LoginRefused as error:
            self._refused, self._refused_until = error, time.monotonic() + self._refusal_seconds
            raise
        self._refused = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running = None
        if not task.cancelled():
            task.exception()  # whoever waited has it, and nobody may
