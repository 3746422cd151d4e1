"""The session: whether etcd, and so the fleet, still counts this node in."""

from __future__ import annotations

import asyncio
import enum
import logging
import time

from clusterd.aio import Signal

log = logging.getLogger(__name__)


class SessionState(enum.StrEnum):
    """How certain it is that the fleet counts this node in.

    `CONNECTED`: registered, and renewals go through. `SUSPENDED`: renewals fail, but the lease can't have expired yet.
    `LOST`: the lease is gone or may be; others may have taken over what this node had.
    """

    CONNECTED = "connected"
    SUSPENDED = "suspended"
    LOST = "lost"


class Session:
    """The state of a registration, by the monotonic clock: past the deadline it is `LOST`, whatever else is known.

    `losses` counts how often it was lost: who holds something only while the session lives compares it, since a loss
    can be over before a reader gets to look. `began` says whether it was ever connected.
    """

    def __init__(self) -> None:
        self.losses = 0
        self.began = False
        self._state = SessionState.LOST
        self._deadline = 0.0
        self._expiry: asyncio.TimerHandle | None = None
        self._signal = Signal()

    def __str__(self) -> str:
        return self.state.value

    @property
    def state(self) -> SessionState:
        """The state at this moment: correct also where the process was paused and no timer has run yet."""
        return self._state if time.monotonic() < self._deadline else SessionState.LOST

    @property
    def remaining(self) -> float:
        """Seconds for which the registration is certain if nothing renews it."""
        return max(0.0, self._deadline - time.monotonic())

    async def wait_for(self, *states: SessionState) -> SessionState:
        """Wait until the state is one of these, and return it."""
        while (state := self.state) not in states:
            await self._signal.wait()
        return state

    def renewed(self, deadline: float) -> None:
        """Note that the registration holds until `deadline`, on the monotonic clock."""
        if self.state is SessionState.LOST and self._state is not SessionState.LOST:
            self.lost()  # it lapsed, and no timer has run since
        self.began = True
        self._deadline = deadline
        self._arm()
        self._become(SessionState.CONNECTED)

    def troubled(self) -> None:
        """Note that the registration could not be renewed or put right just now."""
        if self.state is SessionState.CONNECTED:
            self._become(SessionState.SUSPENDED)

    def lost(self) -> None:
        """Note that the registration is gone."""
        self._deadline = 0.0
        self._become(SessionState.LOST)

    def close(self) -> None:
        """End the session on purpose: the state is `LOST` from now on, and no timer is left."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self._state, self._deadline = SessionState.LOST, 0.0
        self._signal.fire()

    def _arm(self) -> None:
        """Have one timer running, which follows the deadline when it fires early."""
        if self._expiry is None:
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(max(0.0, self._deadline - time.monotonic()), self._expire)

    def _expire(self) -> None:
        self._expiry = None
        if time.monotonic() < self._deadline:
            self._arm()
        elif self._state is not SessionState.LOST:
            self.lost()

    def _become(self, state: SessionState) -> None:
        if state is self._state:
            return
        log.log(logging.INFO if state is SessionState.CONNECTED else logging.WARNING, "session: %s", state.value)
        self._state = state
        self.losses += state is SessionState.LOST
        self._signal.fire()
