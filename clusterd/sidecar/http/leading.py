"""Elections over HTTP: who leads, and standing for election by a connection that is kept open."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from dataclasses import dataclass, field
from typing import NoReturn

from aiohttp import web

from clusterd.agent import Agent
from clusterd.aio import Signal, run_together
from clusterd.election import Election, Term
from clusterd.errors import ClusterdError, Conflict, Deposed
from clusterd.etcd.errors import EtcdError
from clusterd.keys import check_office_name
from clusterd.sidecar.http.answers import Problem, answer, encode, not_ready
from clusterd.sidecar.http.documents import (
    AliveRequest,
    CandidacyRequest,
    HolderDocument,
    LeaderDocument,
    TermDocument,
)
from clusterd.sidecar.http.operations import body_of
from clusterd.sidecar.http.queries import Query
from clusterd.sidecar.http.streams import Stream, Streams, event

MAX_CANDIDACIES = 64
"""Candidacies of one daemon at a time: each has a lease and two watches."""

ASK_AGAIN_SECONDS = 0.5
"""For how long an answer of etcd's serves others who ask who leads."""

_PATIENCE = 2.0
_BEATS_PER_TTL = 3
_MOST_LOOKS = 256


class _Hung(Exception):
    """A candidate didn't say in time that it lives."""


@dataclass(slots=True, eq=False)
class _Standing:
    """A client's candidacy: its term once it is elected, and when the client last said that it lives."""

    election: str
    wanted: CandidacyRequest
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    term: Term | None = None
    alive_at: float = field(default_factory=time.monotonic)
    elected: Signal = field(default_factory=Signal)

    @property
    def leads(self) -> bool:
        """Whether its term goes on, by the clock of this moment."""
        return self.term is not None and not self.term.lost.is_set()

    def document(self) -> TermDocument:
        """Return what it has come to."""
        term = self.term if self.leads else None
        seconds = term.remaining if term else 0.0
        fence = term.fence if term else None
        return TermDocument(self.election, self.id, fence, round(seconds, 3), round(time.monotonic() + seconds, 3))

    def check_alive(self) -> None:
        """Raise `_Hung` where the client promised to say that it lives, and didn't."""
        if self.wanted.alive is not None and time.monotonic() - self.alive_at > self.wanted.alive:
            raise _Hung(f"the candidate has not said for {self.wanted.alive:g} s that it lives")


@dataclass(slots=True)
class _Look:
    """The last look at who leads an election, which serves all who ask within a moment."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    at: float = -math.inf
    document: LeaderDocument | None = None


class Leading:
    """The elections that clients of this daemon ask about, or stand in."""

    def __init__(self, agent: Agent, streams: Streams, ttl: int) -> None:
        self._agent = agent
        self._streams = streams
        self._ttl = ttl
        self._standing: list[_Standing] = []
        self._looks: dict[str, _Look] = {}

    @property
    def led(self) -> list[str]:
        """The elections that are led through this daemon."""
        return sorted({standing.election for standing in self._standing if standing.leads})

    async def who(self, request: web.Request, _: Query) -> web.Response:
        """Answer who leads: 200 if it is a candidate of this daemon, else 503 with the one who does."""
        name = check_office_name(request.match_info["name"])
        document = self._here(name) or await self._elsewhere(name)
        if document.here:
            return answer(document)
        return answer(document, status=503, headers={"Retry-After": "1"})

    async def stand(self, request: web.Request, _: Query) -> web.StreamResponse:
        """Stand for election for as long as the connection lasts, and stream what becomes of it."""
        name = check_office_name(request.match_info["name"])
        wanted = await body_of(request, CandidacyRequest, optional=True)
        election = self._agent.election(name, value=wanted.value, ttl=wanted.ttl)
        if not self._agent.session.began:
            raise not_ready("the node is not registered yet")
        if len(self._standing) >= MAX_CANDIDACIES:
            raise Problem(503, "too_many_candidacies", f"{MAX_CANDIDACIES} stand already", {"Retry-After": "5"})
        standing = _Standing(name, wanted)
        async with self._streams.open(request) as stream:
            self._standing.append(standing)
            try:
                await self._stand(stream, standing, election)
            finally:
                self._standing.remove(standing)
        return stream.response

    async def alive(self, request: web.Request, _: Query) -> web.Response:
        """Take note that a candidate lives, and change its proposal if asked to."""
        name = check_office_name(request.match_info["name"])
        wanted = await body_of(request, AliveRequest)
        standing = self._find(name, wanted.candidacy)
        standing.alive_at = time.monotonic()
        if wanted.value is not None:
            if standing.term is None:
                raise Deposed(
                    f"candidacy {standing.id} for {name!r} is not elected: only a leader can change its value"
                )
            await standing.term.proclaim(wanted.value)
        return answer(standing.document())

    async def resign(self, request: web.Request, query: Query) -> web.Response:
        """End the term that a candidate of this daemon has; its stream ends."""
        name = check_office_name(request.match_info["name"])
        candidacy = query.one("candidacy")
        standing = self._find(name, candidacy) if candidacy is not None else self._leader(name)
        if standing is None or standing.term is None or not standing.leads:
            raise Conflict(f"election {name!r} is not led through this daemon")
        await standing.term.resign()
        return answer(standing.document())

    async def _stand(self, stream: Stream, standing: _Standing, election: Election) -> None:
        """Stand, lead, and tell the client, until the term is lost or the client hangs."""
        await stream.send(event("standing", encode(standing.document())))
        try:
            await run_together(
                **{
                    f"clusterd candidacy for {standing.election}": _lead(standing, election),
                    f"clusterd terms of {standing.election}": self._tell(stream, standing),
                }
            )
        except (_Hung, ClusterdError) as error:
            name = "failed" if standing.term is None else "lost"
            await stream.send(event(name, encode({"reason": str(error)})))

    async def _tell(self, stream: Stream, standing: _Standing) -> NoReturn:
        """Tell the client of its term, again and again: its word is good for so many seconds only."""
        every = min((standing.wanted.ttl or self._ttl) / _BEATS_PER_TTL, (standing.wanted.alive or math.inf) / 2)
        told = False
        while True:
            if standing.leads:
                await stream.send(event("term" if told else "elected", encode(standing.document())))
                told = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await standing.elected.wait()
            standing.check_alive()
            if not standing.leads:
                await stream.beat()

    def _here(self, name: str) -> LeaderDocument | None:
        standing = self._leader(name)
        if standing is None or standing.term is None:
            return None
        holder = HolderDocument(standing.wanted.value or self._agent.node.id, standing.term.fence)
        return LeaderDocument(name, here=True, holder=holder, valid_seconds=round(standing.term.remaining, 3))

    async def _elsewhere(self, name: str) -> LeaderDocument:
        """Return who leads as etcd has it now, or had it a moment ago."""
        while len(self._looks) > _MOST_LOOKS:
            del self._looks[next(iter(self._looks))]
        look = self._looks.setdefault(name, _Look())
        async with look.lock:
            if look.document is None or time.monotonic() >= look.at + ASK_AGAIN_SECONDS:
                look.document, look.at = await self._ask(name), time.monotonic()
            return look.document

    async def _ask(self, name: str) -> LeaderDocument:
        try:
            async with asyncio.timeout(_PATIENCE):
                found = await self._agent.election(name).leader()
        except TimeoutError:
            return LeaderDocument(name, here=False, holder=None, trouble=f"etcd did not answer within {_PATIENCE:g} s")
        except EtcdError as error:
            return LeaderDocument(name, here=False, holder=None, trouble=str(error))
        return LeaderDocument(name, here=False, holder=HolderDocument(found.id, found.fence) if found else None)

    def _leader(self, name: str) -> _Standing | None:
        return next((each for each in self._standing if each.election == name and each.leads), None)

    def _find(self, name: str, candidacy: str) -> _Standing:
        for standing in self._standing:
            if (standing.election, standing.id) == (name, candidacy):
                return standing
        raise Problem(404, "not_found", f"no candidacy {candidacy!r} for election {name!r} is open here")


async def _lead(standing: _Standing, election: Election) -> NoReturn:
    """Wait for the office, and hold it until the term is lost: then `Deposed` is raised."""
    async with election.lead() as term:
        standing.term = term
        standing.elected.fire()
        await asyncio.get_running_loop().create_future()
    raise AssertionError("unreachable: nothing ends that wait but an error")
