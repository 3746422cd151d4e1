"""`leader NAME -w`: a line for each thing that happens to an office, as it happens."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clusterctl.render import documents
from clusterctl.render.elections import candidate_document
from clusterctl.render.text import printable, timestamp
from clusterctl.screen import Screen, now, say
from clusterctl.settings import Settings
from clusterd.election import Candidate, Sighting, sightings
from clusterd.election.ballot import Office
from clusterd.etcd.client import Client

FOLLOWED = ("table", "jsonl")
"""The forms in which an election can be followed: lines, and objects."""


@dataclass(frozen=True, slots=True)
class News:
    """One thing that happened: `leads`, `proclaimed`, `vacant`, `stale` or `fresh`.

    `leader` is who leads since then, or as far as is known; None if nobody does.
    """

    kind: str
    revision: int
    leader: Candidate | None


class Chronicle:
    """Tells from one sighting of an office after the other what is new."""

    def __init__(self) -> None:
        self._last: Sighting | None = None
        self._stale = False

    def note(self, seen: Sighting) -> list[News]:
        """Return what a sighting tells that those before didn't."""
        if seen.trouble:
            kinds = [] if self._stale else ["stale"]
            self._stale, known = True, self._last or Sighting()
        else:
            kinds = [*self._changed(seen.holder), *(["fresh"] if self._stale else [])]
            self._stale, self._last, known = False, seen, seen
        return [News(kind, known.revision, known.holder) for kind in kinds]

    def _changed(self, holder: Candidate | None) -> list[str]:
        before = self._last.holder if self._last else None
        if self._last and holder == before:
            return []
        if holder is None:
            return ["vacant"]
        return ["proclaimed" if before and before.fence == holder.fence else "leads"]


async def follow(settings: Settings, screen: Screen, name: str, output: str) -> None:
    """Write what happens to an election, until interrupted.

    An etcd that can't be reached at first raises `Unavailable`: an endpoint that was mistyped is not waited for.
    """
    chronicle = Chronicle()
    async with Client(settings.etcd) as client:
        looks = sightings(client, Office.of_election(settings.keyspace, name))
        async with contextlib.aclosing(looks):
            _begin(screen, name, output, chronicle, await anext(looks))
            async for seen in looks:
                _write(screen, name, output, chronicle, seen)


def _begin(screen: Screen, name: str, output: str, chronicle: Chronicle, seen: Sighting) -> None:
    if seen.trouble:
        raise seen.trouble
    _write(screen, name, output, chronicle, seen)
    if seen.holder is None:
        say(f"nobody stands in election {name}: waiting for somebody to")


def _write(screen: Screen, name: str, output: str, chronicle: Chronicle, seen: Sighting) -> None:
    for news in chronicle.note(seen):
        if output == "jsonl":
            screen.write(documents.as_json_line(as_document(news, name, now())))
        else:
            screen.write(as_text(news, now()))
        if news.kind == "stale":
            say(f"stale: {seen.trouble}; waiting for etcd")


def as_text(news: News, time: datetime) -> str:
    """Return news as a line."""
    leader = f"{news.leader.id}  fence {news.leader.fence}" if news.leader else ""
    return printable(f"{timestamp(time)}  {news.revision:>6}  {news.kind:<11}  {leader}").rstrip()


def as_document(news: News, name: str, time: datetime) -> dict[str, Any]:
    """Return news as JSON shows it."""
    return {
        "time": timestamp(time),
        "revision": news.revision,
        "event": news.kind,
        "election": name,
        "leader": candidate_document(news.leader) if news.leader else None,
    }
