"""One candidacy: a lease, a key bound to it, the wait for its turn, and what watches over all three."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, NoReturn

from clusterd.aio import Backoff, beside, level_for, run_together
from clusterd.election.ballot import Office
from clusterd.election.gate import Gate
from clusterd.election.loss import Loss
from clusterd.election.presence import insist, until_gone
from clusterd.errors import Deposed
from clusterd.etcd import ops
from clusterd.etcd.client import Client
from clusterd.etcd.errors import EtcdError, LeaseGone, NoSpace, Refused
from clusterd.etcd.lease import Lease, call_seconds
from clusterd.etcd.messages import KeyValue, RangeReply, TxnReply
from clusterd.etcd.ops import Op

log = logging.getLogger(__name__)

_LEAVE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Standing:
    """What etcd had at one revision: our key, the candidate right before us, the term that last ended by resigning."""

    revision: int
    own: KeyValue | None
    ahead: KeyValue | None
    resigned: int


class Candidacy:
    """Somebody's place in the queue for an office, and then the office.

    `fence` is the create revision of the key. `loss` is set as soon as the place is not certain any more: a tenth of
    the TTL (at most a second) before the lease could expire, or when lease or key are seen to be gone.
    """

    def __init__(self, client: Client, office: Office, lease: Lease, proposal: bytes) -> None:
        self.office = office
        self.key = office.candidate(lease.id)
        self.fence = 0
        self._client = client
        self._lease = lease
        self._proposal = proposal
        self._margin = min(1.0, lease.ttl / 10)
        self._patience = call_seconds(lease.ttl)
        self._elected = False
        self._released = False
        self.loss = Loss(office.title, lease.deadline - self._margin)

    async def elected(self, settle: float) -> None:
        """Wait until the office is ours, and make sure of it: our key, with its lease, is read again from etcd.

        Only the candidate right before us is watched: a handover wakes one. If the last of them went without
        resigning, `settle` seconds pass first.
        """
        waited_for = 0
        while True:
            standing = await insist(self._make_sure, self.office.title)
            if standing.ahead is not None:
                waited_for = standing.ahead.create_revision
                await until_gone(
                    self._client, standing.ahead, since=standing.revision, probe_seconds=float(self._lease.ttl)
                )
            elif waited_for in (0, standing.resigned):
                self._elected = True
                return
            else:
                await asyncio.sleep(settle)
                waited_for = 0

    async def guarded(self, *operations: Op) -> TxnReply:
        """Run operations if, and only if, our key is still there.

        Raises `Deposed` where it isn't, or the place is lost already, and `EtcdError` where etcd doesn't answer.
        """
        self.loss.check()
        reply = await self._client.txn([self.guard()], list(operations), [])
        if not reply.succeeded:
            self.loss.set("its key is gone, and a write was refused")
            raise self.loss.error()
        return reply

    def guard(self) -> ops.Compare:
        """The compare that holds for as long as our key is there."""
        return ops.create_revision_is(self.key, self.fence)

    async def propose(self, proposal: bytes) -> None:
        """Put another proposal in place of ours. Raises as `guarded` does."""
        await self.guarded(ops.put(self.key, proposal, lease=self._lease.id))

    async def release(self, reason: str) -> None:
        """Give the place up, so that the next one has its turn; without an answer from etcd it lapses by itself.

        A leader's resignation is recorded with the deletion of the key, in one step: the next one need not settle.
        """
        self.loss.set(reason, by_choice=True)
        if self._released:
            return
        self._released = True
        try:
            await self._give_back()
        except EtcdError as error:
            log.warning("%s: not given up (%s): it lapses within %d s", self.office, error, self._lease.ttl)

    async def enrol(self) -> None:
        """Put our key; where an answer was lost, find out by reading whether it is there."""
        reply = await self._client.txn(
            [ops.create_revision_is(self.key, 0)],
            [ops.put(self.key, self._proposal, lease=self._lease.id)],
            [ops.get(self.key)],
            timeout=self._patience,
        )
        found = None if reply.succeeded else reply.found()
        self.fence = found.create_revision if found else reply.header.revision

    async def watch_over(self, gate: Gate) -> None:
        """Keep the lease, and set `loss` as soon as anything says that the place is, or may be, lost."""
        try:
            await run_together(
                **{
                    f"renewals for {self.office}": self._renew_for_ever(),
                    f"clock for {self.office}": self._keep_time(),
                    f"own key of {self.office}": self._follow_key(),
                    f"gate of {self.office}": self._follow_gate(gate),
                }
            )
        except (Deposed, EtcdError) as error:
            self.loss.set(str(error))
        finally:
            self.loss.set("nothing watches over it any more")

    async def _give_back(self) -> None:
        """Hand the office over, or leave the queue; ending the lease works also where etcd takes no writes."""
        if self._elected:
            with contextlib.suppress(Refused):
                return await self._hand_over()
        return await self._lease.revoke(timeout=_LEAVE_SECONDS)

    async def _hand_over(self) -> None:
        resignation = ops.put(self.office.key, str(self.fence).encode(), lease=self._lease.id)
        await self._client.txn([self.guard()], [ops.delete(self.key), resignation], [], timeout=_LEAVE_SECONDS)

    async def _make_sure(self) -> _Standing:
        """Look at the queue, and raise `Deposed` if our key isn't there, bound to our lease, or the clock says so.

        The lease needs no look of its own: etcd deletes a lease's keys in the step that ends it.
        """
        standing = await self._look()
        own = standing.own
        if own is None or (own.create_revision, own.lease) != (self.fence, self._lease.id):
            raise Deposed("its key is gone")
        self.loss.check()
        return standing

    async def _look(self) -> _Standing:
        replies = await self._read({"key": self.key}, self.office.last_before(self.fence), {"key": self.office.key})
        own, ahead, resigned = (reply.kvs[0] if reply.kvs else None for reply in replies)
        text = resigned.value.decode(errors="replace") if resigned else ""
        return _Standing(replies[0].header.revision, own, ahead, int(text) if text.isdecimal() else 0)

    async def _read(self, *ranges: dict[str, Any]) -> list[RangeReply]:
        try:
            reply = await self._client.txn([], [ops.get(**each) for each in ranges], [], timeout=self._patience)
        except NoSpace:  # a full etcd may refuse all transactions, and still lets everybody read
            return [await self._client.range(**each, timeout=self._patience) for each in ranges]
        return [response.response_range or RangeReply() for response in reply.responses]

    async def _renew(self) -> None:
        try:
            await self._lease.renew(timeout=self._patience)
        except LeaseGone as error:
            raise Deposed(str(error)) from error
        self.loss.prolong(self._lease.deadline - self._margin)

    async def _renew_for_ever(self) -> NoReturn:
        """Renew in time; whatever etcd answers instead, only the clock or a lease that is gone end the term."""
        backoff, last = Backoff(0.1, self._patience), None
        while True:
            await asyncio.sleep(max(0.0, self._lease.due - time.monotonic()))
            try:
                await self._renew()
                backoff.reset()
                last = None
            except EtcdError as error:
                log.log(level_for(error, last), "%s: lease not renewed: %s; trying again", self.office, error)
                last = error
                await asyncio.sleep(backoff.next())

    async def _keep_time(self) -> NoReturn:
        while not self.loss.is_set():  # noqa: ASYNC110 - renewals move the deadline meanwhile
            await asyncio.sleep(max(0.0, self.loss.deadline - time.monotonic()))
        raise Deposed(self.loss.reason)

    async def _follow_key(self) -> NoReturn:
        own = KeyValue(key=self.key, create_revision=self.fence)
        await until_gone(self._client, own, since=self.fence, probe_seconds=float(self._lease.ttl))
        raise Deposed("its key is gone: deleted, or its lease revoked or expired")

    async def _follow_gate(self, gate: Gate) -> NoReturn:
        raise Deposed(await gate.left())


@contextlib.asynccontextmanager
async def stand_for(
    office: Office, client: Client, proposal: bytes, *, ttl: int, gate: Gate
) -> AsyncIterator[Candidacy]:
    """Stand for an office: take a place in the queue, and give it up at the end.

    Raises `EtcdError` where that can't be had: `Unavailable` without an answer, `LeaseGone`, or what etcd refuses.
    """
    with gate.inside():
        candidacy = Candidacy(client, office, await Lease.grant(client, ttl), proposal)
        try:
            await insist(candidacy.enrol, office.title)
            async with beside(candidacy.watch_over(gate), name=f"candidacy for {office}"):
                yield candidacy
        finally:
            await candidacy.release("it was given up")
