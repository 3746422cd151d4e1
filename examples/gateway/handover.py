"""Brings streams to the node that owns them now: what a keeper that was has of them, or that it has something."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from clusterd import Topology
from clusterd.aio import Backoff, Signal
from examples.gateway.errors import LogUnavailable
from examples.gateway.fleet import Fleet
from examples.gateway.gate import Gate
from examples.gateway.keeper import Keeper
from examples.gateway.links import Line
from examples.gateway.log import LogEntry, MessageLog
from examples.gateway.peering import Cleared, HandedOver, Handover, Parcel, Spoken

log = logging.getLogger(__name__)

_AT_ONCE: Final = 32
_ANSWER_SECONDS: Final = 5.0


class Removals:
    """Compares what is stored here with what this node owns, and hands the difference over, until there is none.

    It starts over when the topology or a line changed, and after a pause when something went wrong. A stream is removed
    here once its owner has said that it is stored there: in between it is in both places, and its ids keep it from
    being delivered twice.

    Of a log that all share nothing is moved; but a keeper that was, and didn't know it, may have stored something that
    the keeper that is never heard of. So that is told which streams to look at.
    """

    def __init__(self, fleet: Fleet, messages: MessageLog, keeper: Keeper, gate: Gate) -> None:
        self.settled = asyncio.Event()
        self._fleet = fleet
        self._log = messages
        self._keeper = keeper
        self._gate = gate
        self._answers: dict[tuple[Line, str], asyncio.Future[None]] = {}
        self._look = Signal()
        self._due = True
        fleet.on_change.append(self.look)

    def look(self) -> None:
        """Compare again."""
        self._due = True
        self.settled.clear()
        self._look.fire()

    async def run(self) -> None:
        """Compare and hand over, for ever."""
        backoff = Backoff(0.05, 1.0)
        while True:
            while not self._due:
                await self._look.wait()
            self._due = False
            if await self._cleared():
                backoff.reset()
                if not self._due:
                    self.settled.set()
            else:
                self._due = True
                await asyncio.sleep(backoff.next())

    def hear(self, line: Line, message: Spoken) -> None:
        """Take the answer of a keeper on a line of ours."""
        if isinstance(message, HandedOver):
            answer = self._answers.pop((line, message.stream), None)
            if answer is not None and not answer.done():
                answer.set_result(None)

    async def take_over(self, line: Line, message: Handover) -> None:
        """Store what a keeper that was hands over, whether it is ours or (then it goes on from here) not."""
        entries = [LogEntry(p.stream, p.id, p.sender, p.at, p.body) for p in message.parcels]
        try:
            await self._log.adopt(message.stream, entries, message.ids)
        except LogUnavailable as error:
            log.warning("%s", error)  # it is offered again
            return
        line.send(HandedOver(message.stream))
        self._keeper.moved(message.stream)
        owner = self._fleet.topology.owner(message.stream)
        if owner is None or owner.id != self._fleet.node:
            self.look()

    async def _cleared(self) -> bool:
        """Hand over what is others'; returns whether nothing of theirs is left."""
        topology = self._fleet.topology
        try:
            streams = await self._streams()
            left = await self._hand_over(topology, streams)
        except LogUnavailable as error:
            log.warning("%s", error)
            return False
        for line in tuple(self._fleet.lines.values()):
            if line.peer not in left:
                line.send(Cleared(topology.revision, topology.cluster_id))
        return not left

    async def _streams(self) -> list[str]:
        return sorted(self._keeper.touched) if self._log.shared else await self._log.streams()

    async def _hand_over(self, topology: Topology, streams: list[str]) -> set[str]:
        """Hand over; returns the ids of the nodes for which something is left."""
        left: set[str] = set()
        owners = topology.owners(streams)
        theirs = [(s, o.id) for s, o in zip(streams, owners, strict=True) if o is not None and o.id != self._fleet.node]
        for start in range(0, len(theirs), _AT_ONCE):
            some = theirs[start : start + _AT_ONCE]
            done = await asyncio.gather(*(self._give(stream, owner) for stream, owner in some))
            left.update(owner for (_, owner), given in zip(some, done, strict=True) if not given)
        return left

    async def _give(self, stream: str, owner: str) -> bool:
        """Give one stream to its owner; returns whether that has it. Raises `LogUnavailable`."""
        line = self._fleet.lines.get(owner)
        if line is None:
            return False
        while True:
            exported = await self._log.export(stream)
            if not await self._accepted(line, Handover(stream, _parcels(exported.entries), list(exported.ids))):
                return False
            if await self._log.forget(stream, exported):
                return True

    async def _accepted(self, line: Line, message: Handover) -> bool:
        answer = asyncio.get_running_loop().create_future()
        self._answers[line, message.stream] = answer
        line.send(message)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await answer
        except TimeoutError:
            return False
        finally:
            self._answers.pop((line, message.stream), None)
        return True


def _parcels(entries: Sequence[LogEntry]) -> list[Parcel]:
    return [Parcel(0, e.stream, e.id, e.sender, e.at, e.body) for e in entries]
