"""A term: one leader's time in office, or the time that a lock is held."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from clusterd.election.candidacy import Candidacy
from clusterd.election.loss import Loss
from clusterd.etcd import ops
from clusterd.etcd.messages import TxnReply
from clusterd.etcd.ops import Compare, Op


class Term:
    """The time in which an office is ours.

    `name` is the election's or the lock's, `since` the time (UTC) at which the term began. `fence` is its fencing
    token: it rises from term to term, so whatever remembers the highest one it saw can refuse who comes with a lower
    one. Writes to etcd are fenced by `put` and `txn`: etcd refuses them once the office has passed on.

    `lost` happens when the term is over: `lost.is_set()`, `await lost.wait()`, `lost.reason`. That is *before* anybody
    else can have the office by the lease's expiry, also where this process was paused: every call here looks at the
    clock first.
    """

    def __init__(self, name: str, candidacy: Candidacy) -> None:
        self.name = name
        self.since = datetime.now(UTC)
        self._candidacy = candidacy

    def __repr__(self) -> str:
        return f"<Term of {self._candidacy.office}, fence {self.fence}{', lost' if self.lost.is_set() else ''}>"

    @property
    def fence(self) -> int:
        """The create revision of our key."""
        return self._candidacy.fence

    @property
    def key(self) -> bytes:
        """Our key in etcd."""
        return self._candidacy.key

    @property
    def lost(self) -> Loss:
        """The end of the term, as an event."""
        return self._candidacy.loss

    @property
    def remaining(self) -> float:
        """Seconds for which the term is certain if no renewal goes through any more; 0 once it is over."""
        return 0.0 if self.lost.is_set() else max(0.0, self.lost.deadline - time.monotonic())

    def guard(self) -> Compare:
        """Return the compare that makes a transaction of your own a fenced one. Raises `Deposed` if it is over."""
        self.lost.check()
        return self._candidacy.guard()

    async def put(self, key: str | bytes, value: bytes, *, lease: int = 0) -> int:
        """Write a key if the office is still ours, and return the etcd revision.

        Raises `Deposed` if it isn't: then nothing was written, and `lost` is set. Raises `EtcdError` when etcd doesn't
        answer or refuses; without an answer the write may have happened, in office.
        """
        name = key.encode() if isinstance(key, str) else key
        reply = await self._candidacy.guarded(ops.put(name, value, lease=lease))
        return reply.header.revision

    async def txn(self, compare: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op] = ()) -> TxnReply:
        """Run a transaction, neither of whose branches happens unless the office is still ours; return its answer.

        The pieces come from `clusterd.etcd.ops`. Raises as `put` does. After a lost answer it is sent again: let the
        compares hold only once where that matters.
        """
        inner = ops.txn(list(compare), list(success), list(failure))
        reply = await self._candidacy.guarded(inner)
        answer = reply.responses[0].response_txn or TxnReply()
        return msgspec.structs.replace(answer, header=reply.header)

    async def proclaim(self, value: str | bytes) -> None:
        """Put another proposal in place of ours, for observers to see. Raises as `put` does."""
        await self._candidacy.propose(value.encode() if isinstance(value, str) else value)

    async def resign(self) -> None:
        """End the term and let the next candidate have the office, at once.

        Of a body that is to be cancelled, only one that runs in another task than this call's is. Without an answer
        from etcd the office passes on when the lease lapses.
        """
        await self._candidacy.release("it was resigned")
