"""Takes messages of this node's clients to the keepers of their streams, again and again until they are stored."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from examples.gateway.fleet import Fleet
from examples.gateway.links import Line
from examples.gateway.peering import Parcel, Publish, Refused, Stored
from examples.gateway.ticks import Tick

PATIENCE: Final = 10.0
"""Seconds after which a sender is told to try again later."""
_AGAIN: Final = 0.05

Done = Callable[[str, int, str, bool], None]
"""Called with a message's id, and its number, or 0 and why not and whether it may be sent again."""


@dataclass(slots=True)
class Errand:
    """A parcel on its way; `line` is where it was last sent to, `deadline` is monotonic."""

    parcel: Parcel
    done: Done
    deadline: float
    line: Line | None = None


class Courier:
    """Has each parcel stored once: a parcel may be sent many times, its id is stored once.

    Sent again is what a keeper refused for itself, and what was on a line that went down. What is on a line that is up
    is not: its keeper answers, or the line's silence ends it.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._tokens = itertools.count(1)
        self._errands: dict[int, Errand] = {}
        self._unsent: list[Errand] = []
        self._tick = Tick(self._send)
        self._later = Tick(self._send, _AGAIN)
        fleet.on_line_down.append(self._line_down)
        fleet.on_change.append(self._changed)

    def __len__(self) -> int:
        return len(self._errands)

    def post(self, stream: str, id_: str, sender: str, at: int, body: bytes, done: Done) -> None:
        """Have a message stored; `done` is called once, with the answer or after `PATIENCE`."""
        parcel = Parcel(next(self._tokens), stream, id_, sender, at, body)
        self._errands[parcel.token] = errand = Errand(parcel, done, time.monotonic() + PATIENCE)
        self._unsent.append(errand)
        self._tick.ask()

    def stored(self, answer: Stored) -> None:
        """Take a keeper's answer."""
        for token, seq in answer.numbers:
            if errand := self._errands.pop(token, None):
                errand.done(errand.parcel.id, seq, "", False)

    def refused(self, answer: Refused) -> None:
        """Take a keeper's answer."""
        for token in answer.tokens:
            errand = self._errands.get(token)
            if errand is None:
                continue
            if answer.retry:
                self._again(errand)
            else:
                self._give_up(errand, answer.why, retry=False)

    def look(self, now: float) -> None:
        """Give up what waited too long; to be called every second or so."""
        late = [errand for errand in self._errands.values() if errand.deadline < now]
        for errand in late:
            self._give_up(errand, "its keeper can't be reached", retry=True)

    def close(self) -> None:
        """Stop sending."""
        self._tick.cancel()
        self._later.cancel()

    def _send(self) -> None:
        """Send what is unsent, in its order, as one message for each line."""
        unsent, self._unsent = self._unsent, []
        topology, parcels = self._fleet.topology, dict[Line, list[Parcel]]()
        for errand in unsent:
            if errand.parcel.token not in self._errands:
                continue
            errand.line = self._fleet.line_to_keeper(errand.parcel.stream)
            if errand.line is None:
                self._unsent.append(errand)
            else:
                parcels.setdefault(errand.line, []).append(errand.parcel)
        for line, sent in parcels.items():
            line.send(Publish(sent, topology.revision, topology.cluster_id))
        if self._unsent:
            self._later.ask()

    def _again(self, errand: Errand) -> None:
        errand.line = None
        self._unsent.append(errand)
        self._later.ask()

    def _give_up(self, errand: Errand, why: str, *, retry: bool) -> None:
        del self._errands[errand.parcel.token]
        errand.done(errand.parcel.id, 0, why, retry)

    def _line_down(self, line: Line) -> None:
        for errand in self._errands.values():
            if errand.line is line:
                self._again(errand)

    def _changed(self) -> None:
        if self._unsent:
            self._tick.ask()
