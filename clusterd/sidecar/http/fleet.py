"""The fleet over HTTP: nodes, changes, and where keys go."""

from __future__ import annotations

import asyncio
import random
import re
import time

from aiohttp import web

from clusterd.agent import Agent
from clusterd.durations import parse_duration
from clusterd.node import NodeState
from clusterd.selection import NodeSelection, parse_labels
from clusterd.sidecar.http.answers import answer, answer_bytes, bad_request, encode, not_ready
from clusterd.sidecar.http.documents import MAX_ROUTE, RoutesRequest
from clusterd.sidecar.http.journal import Behind, Journal
from clusterd.sidecar.http.operations import body_of
from clusterd.sidecar.http.queries import Query
from clusterd.sidecar.http.routes import Order, Routes
from clusterd.sidecar.http.streams import Stream, Streams, event

DEFAULT_WAIT = 30.0
LONGEST_WAIT = 300.0

_INDEX = re.compile(r"[0-9]{1,19}(-[0-9a-f]{1,32})?")
_KEYS_AT_ONCE = 200


class Fleet:
    """Answers what concerns the whole fleet, from the agent's topology."""

    def __init__(self, agent: Agent, streams: Streams) -> None:
        self._agent = agent
        self._streams = streams
        self._journal = Journal()
        self._routes = Routes(agent.node.id)
        self._began = False
        self.routed = 0

    async def follow(self) -> None:
        """Keep up with the agent, which runs, until it stops."""
        changes = self._agent.changes()
        self._journal.begin(self._agent.topology)
        self._began = True
        async for change in changes:
            self._journal.add(change)

    async def nodes(self, request: web.Request, query: Query) -> web.Response:
        """Answer with the nodes, at once or when there is another version of the topology."""
        selection = _selection(query)
        index, wait = _index(query), _wait(query)
        journal = self._present()
        if index is not None:
            await self._other_than(index, wait)
        etag = f'"{journal.version}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if etag in _etags(request.headers.get("If-None-Match", "")):
            return web.Response(status=304, headers=headers)
        if not selection:
            return answer_bytes(journal.nodes(), headers=headers)
        nodes = [node for node in journal.topology if selection.matches(node)]
        return answer_bytes(journal.nodes_among(nodes), headers=headers)

    async def watch(self, request: web.Request, _: Query) -> web.StreamResponse:
        """Stream the nodes and what becomes of them; from where the client was, if that is still known."""
        journal = self._present()
        async with self._streams.open(request) as stream:
            try:
                last = request.headers.get("Last-Event-ID")
                if last is None:
                    place = await _send_snapshot(stream, journal)
                else:
                    place = journal.place_of(last)
                    await stream.send(b": resumed\n\n")
            except Behind as error:
                place = await _send_reset(stream, journal, error)
            await _follow(stream, journal, place)
        return stream.response

    async def route(self, _: web.Request, query: Query) -> web.Response:
        """Answer where one key goes."""
        key, n, zone = query.one("key"), query.number("n", 1, most=MAX_ROUTE), query.one("zone")
        if key is None:
            raise bad_request("key is missing: give the key to route")
        self._routes.look(self._present().topology)
        self.routed += 1
        return answer_bytes(self._routes.one(key, n, zone))

    async def routes(self, request: web.Request, _: Query) -> web.Response:
        """Answer where many keys go, all by one topology."""
        wanted = await body_of(request, RoutesRequest)
        topology = self._present().topology
        self._routes.look(topology)
        self.routed += len(wanted.keys)
        orders: list[Order] = []
        for start in range(0, len(wanted.keys), _KEYS_AT_ONCE):
            keys = wanted.keys[start : start + _KEYS_AT_ONCE]
            orders += self._routes.orders(topology, keys, wanted.n, wanted.zone)
            await asyncio.sleep(0)
        return answer(self._routes.document(topology, orders))

    def close(self) -> None:
        """Let nobody wait for news any more: the streams are being ended."""
        self._journal.news.fire()

    def _present(self) -> Journal:
        """Return the journal, level with the agent. Raises `Problem` while the node isn't registered yet."""
        if not self._began:
            raise not_ready("the node is not registered yet: its topology is not known")
        self._journal.look(self._agent.topology)
        return self._journal

    async def _other_than(self, index: str, wait: float) -> None:
        """Wait until the topology has another version than `index`, for `wait` seconds and some more at the most."""
        journal, until = self._journal, time.monotonic() + wait * random.uniform(1.0, 1.0 + 1 / 16)  # noqa: S311
        try:
            async with asyncio.timeout(until - time.monotonic()):
                while self._present().version == index and not self._streams.closing:
                    await journal.news.wait()
        except TimeoutError:
            return


async def _follow(stream: Stream, journal: Journal, place: int) -> None:
    """Send what happens from a place on, until the client is gone or the streams are ended."""
    while True:
        try:
            events, place = journal.read(place)
            if events:
                await stream.send(events)
            else:
                await stream.idle(journal.news)
        except Behind as error:
            place = await _send_reset(stream, journal, error)


async def _send_snapshot(stream: Stream, journal: Journal) -> int:
    place = journal.place
    await stream.send(journal.snapshot())
    return place


async def _send_reset(stream: Stream, journal: Journal, why: Behind) -> int:
    """Tell the client to forget what it has, and send all there is."""
    place = journal.place
    await stream.send(event("reset", encode({"reason": str(why)})) + journal.snapshot())
    return place


def _selection(query: Query) -> NodeSelection:
    state = query.one("state")
    if state is not None and state not in set(NodeState):
        raise bad_request(f"state {state!r} is none: give {', '.join(NodeState)}")
    return NodeSelection(
        ids=query.many("id"), labels=parse_labels(query.many("label")), zone=query.one("zone"), state=state
    )


def _index(query: Query) -> str | None:
    index = query.one("index")
    if index is not None and not _INDEX.fullmatch(index):
        raise bad_request(f"index {index!r} can't be used: give the revision of an answer, as in its ETag")
    return index


def _wait(query: Query) -> float:
    text = query.one("wait")
    if text is None:
        return DEFAULT_WAIT
    if query.one("index") is None:
        raise bad_request("wait is of use only with index: give both")
    return min(parse_duration(text, "wait"), LONGEST_WAIT)


def _etags(header: str) -> set[str]:
    """Return the entity tags of an If-None-Match, weak ones as what they stand for."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}
