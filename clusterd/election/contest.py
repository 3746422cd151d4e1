"""Standing for an office for as long as it takes: what elections and locks have in common."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Literal

from clusterd.aio import Backoff, level_for
from clusterd.election.ballot import Office
from clusterd.election.candidacy import Candidacy, stand_for
from clusterd.election.gate import Gate
from clusterd.election.loss import Deposing
from clusterd.election.tally import Tally
from clusterd.election.term import Term
from clusterd.errors import Deposed, UsageError
from clusterd.etcd.client import Client
from clusterd.etcd.errors import LeaseGone, NoSpace, TlsFailed, Unavailable

log = logging.getLogger(__name__)

OnLost = Literal["cancel", "tell"]

DEFAULT_SETTLE = 0.25
"""Seconds that a winner lets pass where its predecessor went without resigning."""


class Contest:
    """Candidates for one office, made one after the other until one of them is elected."""

    def __init__(
        self,
        client: Client,
        office: Office,
        proposal: bytes,
        *,
        ttl: int,
        settle: float,
        gate: Gate,
        tally: Tally | None = None,
    ) -> None:
        if settle < 0:
            raise UsageError(f"settle {settle!r} is out of range: give a number of seconds, 0 or more")
        self._client = client
        self._office = office
        self._proposal = proposal
        self._ttl = ttl
        self._settle = settle
        self._gate = gate
        self._tally = tally or Tally()

    @contextlib.asynccontextmanager
    async def term(self, name: str, on_lost: OnLost) -> AsyncIterator[Term]:
        """Wait for the office, hold it for the time of the body, and give it up.

        With `on_lost="cancel"` the body is cancelled when the term is lost, and `Deposed` raised; with "tell" it goes
        on, and has `term.lost` to look at.
        """
        if on_lost not in ("cancel", "tell"):
            raise UsageError(f"on_lost {on_lost!r} is not known: give 'cancel' or 'tell'")
        candidacy, held = await self._won()
        async with held:
            term = Term(name, candidacy)
            log.info("%s: elected, fence %d", self._office, term.fence)
            deposing = Deposing(term.lost) if on_lost == "cancel" else contextlib.nullcontext()
            with self._tally.holding(term), deposing:
                yield term

    async def _won(self) -> tuple[Candidacy, contextlib.AsyncExitStack]:
        """Return an elected candidacy, and the stack on which it is entered."""
        backoff, last = Backoff(0.1, 2.0), None
        while True:
            await self._gate.opened()
            try:
                return await self._stand()
            except TlsFailed:
                raise
            except (Deposed, LeaseGone, NoSpace, Unavailable) as error:
                log.log(level_for(error, last), "%s: not elected: %s; standing again", self._office, error)
                last = error
            await asyncio.sleep(backoff.next())

    async def _stand(self) -> tuple[Candidacy, contextlib.AsyncExitStack]:
        async with contextlib.AsyncExitStack() as stack:
            place = stand_for(self._office, self._client, self._proposal, ttl=self._ttl, gate=self._gate)
            candidacy = await stack.enter_async_context(place)
            with Deposing(candidacy.loss):
                await candidacy.elected(self._settle)
            return candidacy, stack.pop_all()
