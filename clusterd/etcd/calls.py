"""What calls to etcd come to, for those who want to know it: the one place where every call ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from clusterd.etcd.errors import AuthExpired, Compacted, EtcdError, LeaseExists, LeaseGone, Refused, Unavailable

log = logging.getLogger(__name__)
T = TypeVar("T")

_OUTCOMES: dict[type[BaseException], str] = {
    Unavailable: "unavailable",
    AuthExpired: "auth_expired",
    Compacted: "compacted",
    LeaseGone: "lease_gone",
    LeaseExists: "lease_exists",
    Refused: "refused",
    EtcdError: "error",
    asyncio.CancelledError: "cancelled",
}

OUTCOMES = ("ok", *_OUTCOMES.values())
"""What a call can come to: `ok`, or the kind of error that it raised."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call that has ended: over all its endpoints and attempts, in `seconds`.

    `method` is the RPC's path without its first slash, such as `kv/range`; a `watch` ends when it is open. `outcome` is
    one of `OUTCOMES`.
    """

    method: str
    outcome: str
    seconds: float


CallObserver = Callable[[Call], None]
"""Is told of each call as it ends, in the event loop: it must not block."""


async def observed(observers: Sequence[CallObserver], rpc: str, answer: Awaitable[T]) -> T:
    """Return what the call `rpc` answers, and tell the observers what it came to."""
    began, outcome = time.monotonic(), "ok"
    try:
        return await answer
    except BaseException as error:
        outcome = outcome_of(error)
        raise
    finally:
        _tell(observers, Call(rpc.lstrip("/"), outcome, time.monotonic() - began))


def outcome_of(error: BaseException) -> str:
    """Return which of `OUTCOMES` an error is."""
    return next((_OUTCOMES[kind] for kind in type(error).__mro__ if kind in _OUTCOMES), "error")


def _tell(observers: Sequence[CallObserver], call: Call) -> None:
    for observe in tuple(observers):
        try:
            observe(call)
        except Exception:
            log.exception("an observer of calls to etcd failed")
