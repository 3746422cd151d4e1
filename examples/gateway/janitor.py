"""Work that one node of the fleet does: saying what is too old to be kept."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

import clusterd
from examples.gateway.errors import LogUnavailable
from examples.gateway.fleet import Fleet
from examples.gateway.links import Line
from examples.gateway.log import MessageLog
from examples.gateway.peering import Expire

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """Seconds for which messages are kept, for which ids are known, and between two looks."""

    messages: float = 7 * 86_400
    ids: float = 3_600
    every: float = 60


class Janitor:
    """The leader tells every node what to forget, with its fence; a node doesn't listen to a leader that was.

    Each node forgets in its own log; in one that all share the leader does it alone.
    """

    def __init__(self, fleet: Fleet, messages: MessageLog, retention: Retention) -> None:
        self._fleet = fleet
        self._log = messages
        self._retention = retention
        self._fence = 0

    async def lead(self, term: clusterd.Term) -> None:
        """Say what to forget from time to time, while this node leads."""
        while True:
            now = time.time()
            before, ids_before = now - self._retention.messages, now - self._retention.ids
            for line in self._audience():
                line.send(Expire(int(before * 1000), int(ids_before * 1000), term.fence))
            await asyncio.sleep(self._retention.every)

    async def expire(self, message: Expire) -> None:
        """Forget, unless a later leader has spoken."""
        if message.fence < self._fence:
            return
        self._fence = message.fence
        try:
            gone = await self._log.expire(message.before, message.ids_before)
        except LogUnavailable as error:
            log.warning("%s", error)
            return
        if gone:
            log.info("%d messages were too old to be kept", gone)

    def _audience(self) -> list[Line]:
        lines = self._fleet.lines
        return [lines[self._fleet.node]] if self._log.shared else list(lines.values())
