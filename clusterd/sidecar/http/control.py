"""The control API: every operation there is, behind the guard."""

from __future__ import annotations

from collections import Counter
from functools import partial

from aiohttp import web

from clusterd.agent import Agent
from clusterd.node import NodeState
from clusterd.sidecar.gateway import Gateway
from clusterd.sidecar.http.answers import answer_bytes, encode, plain_problem
from clusterd.sidecar.http.documents import (
    MAX_ROUTE,
    AliveRequest,
    CandidacyRequest,
    DrainDocument,
    DrainRequest,
    LeaderDocument,
    NodesDocument,
    RouteDocument,
    RoutesDocument,
    RoutesRequest,
    SelfDocument,
    SelfRequest,
    StatsDocument,
    TermDocument,
)
from clusterd.sidecar.http.evictions import Evictions
from clusterd.sidecar.http.fleet import Fleet
from clusterd.sidecar.http.guard import Guard
from clusterd.sidecar.http.leading import Leading
from clusterd.sidecar.http.listeners import MAX_BODY, errors_as_json
from clusterd.sidecar.http.openapi import openapi
from clusterd.sidecar.http.operations import Operation, Outcome, Parameter
from clusterd.sidecar.http.own import Own
from clusterd.sidecar.http.queries import Query
from clusterd.sidecar.http.requests import counting
from clusterd.sidecar.http.streams import Streams

_TEXT = {"type": "string"}
_ID = Parameter("id", "only these nodes", _TEXT, repeated=True)
_LABEL = Parameter("label", "k=v, k!=v or k; several are all to be met", _TEXT, repeated=True)
_ZONE = Parameter("zone", "only nodes in this zone", _TEXT)
_STATE = Parameter("state", "only nodes in this state", {"enum": [state.value for state in NodeState]})
_INDEX = Parameter(
    "index", "answer when the version is another one", {"type": "string", "pattern": "^[0-9]{1,19}(-[0-9a-f]{1,32})?$"}
)
_WAIT = Parameter("wait", "wait for that at most so long, like 30s", _TEXT)
_KEY = Parameter("key", "the key to route", _TEXT, required=True)
_N = Parameter(
    "n", "how many nodes, the owner among them", {"type": "integer", "minimum": 1, "maximum": MAX_ROUTE, "default": 1}
)
_NEAR = Parameter("zone", "the zone that fallbacks are preferred in", _TEXT)
_CANDIDACY = Parameter("candidacy", "the one to resign; the leading one unless given", _TEXT)


class Control:
    """The application behind the control listener, and what it keeps beside the agent.

    `answered` counts requests by path, method and status.
    """

    def __init__(self, agent: Agent, gateway: Gateway, ttl: int) -> None:
        self.streams = Streams()
        self.answered: Counter[tuple[str, str, str]] = Counter()
        self.fleet = Fleet(agent, self.streams)
        self.leading = Leading(agent, self.streams, ttl)
        self._own = Own(agent, gateway, lambda: self.leading.led)
        self._evictions = Evictions(gateway, self.streams)
        self.operations = [*self._about_fleet(), *self._about_elections(), *self._about_self()]
        self._document = encode(openapi(self.operations))

    def app(self, guard: Guard) -> web.Application:
        """Return the application, guarded."""
        app = web.Application(middlewares=[counting(self.answered), errors_as_json], client_max_size=MAX_BODY)
        for operation in self.operations:
            app.router.add_route(
                operation.method, operation.path, partial(_serve, guard, operation), expect_handler=_expect
            )
        return app

    def close(self, reason: str) -> None:
        """End all streams and all waiting, and tell the clients why."""
        self.streams.close(reason)
        self.fleet.close()

    def _about_fleet(self) -> list[Operation]:
        fleet = self.fleet
        nodes = {200: Outcome("the nodes", NodesDocument), 304: Outcome("the client has them already")}
        return [
            Operation(
                "GET",
                "/v1/nodes",
                fleet.nodes,
                "The nodes, at once or when they change",
                nodes,
                parameters=(_ID, _LABEL, _ZONE, _STATE, _INDEX, _WAIT),
                errors=(503,),
            ),
            Operation(
                "GET",
                "/v1/watch",
                fleet.watch,
                "The nodes, and what becomes of them",
                {200: Outcome("events: snapshot, change, reset, end", stream=True)},
                errors=(503,),
            ),
            Operation(
                "GET",
                "/v1/route",
                fleet.route,
                "Where a key goes",
                {200: Outcome("its owner, and fallbacks", RouteDocument)},
                parameters=(_KEY, _N, _NEAR),
                errors=(503,),
            ),
            Operation(
                "POST",
                "/v1/route",
                fleet.routes,
                "Where many keys go",
                {200: Outcome("the nodes for each", RoutesDocument)},
                body=RoutesRequest,
                errors=(503,),
            ),
            Operation(
                "GET",
                "/v1/openapi.json",
                self._describe,
                "This description",
                {200: Outcome("an OpenAPI document", dict)},
            ),
        ]

    def _about_elections(self) -> list[Operation]:
        leading, path = self.leading, "/v1/leader/{name}"
        return [
            Operation(
                "GET",
                path,
                leading.who,
                "Who leads",
                {200: Outcome("a candidate of this daemon", LeaderDocument), 503: Outcome("not", LeaderDocument)},
                tag="elections",
            ),
            Operation(
                "POST",
                path,
                leading.stand,
                "Stand for election, for as long as the connection lasts",
                {200: Outcome("events: standing, elected, term, lost, failed, end", stream=True)},
                body=CandidacyRequest,
                optional_body=True,
                changes=True,
                errors=(503,),
                tag="elections",
            ),
            Operation(
                "PUT",
                path,
                leading.alive,
                "Say that a candidate lives, or change its value",
                {200: Outcome("what it has come to", TermDocument)},
                body=AliveRequest,
                changes=True,
                errors=(404, 409, 502, 503),
                tag="elections",
            ),
            Operation(
                "DELETE",
                path,
                leading.resign,
                "Resign",
                {200: Outcome("resigned", TermDocument)},
                parameters=(_CANDIDACY,),
                changes=True,
                errors=(404, 409),
                tag="elections",
            ),
        ]

    def _about_self(self) -> list[Operation]:
        own = self._own
        drain = Outcome("how the drain goes", DrainDocument)
        return [
            Operation("GET", "/v1/self", own.show, "This node", {200: Outcome("this node", SelfDocument)}, tag="self"),
            Operation(
                "PATCH",
                "/v1/self",
                own.change,
                "Change this node's record",
                {200: Outcome("etcd has it", SelfDocument), 202: Outcome("it is under way", SelfDocument)},
                body=SelfRequest,
                changes=True,
                errors=(409, 502, 503),
                tag="self",
            ),
            Operation(
                "PUT",
                "/v1/self/stats",
                own.count,
                "Say how many sessions there are",
                {200: Outcome("taken", StatsDocument)},
                body=StatsDocument,
                changes=True,
                tag="self",
            ),
            Operation("GET", "/v1/self/drain", own.progress, "How the drain goes", {200: drain}, tag="self"),
            Operation(
                "POST",
                "/v1/self/drain",
                own.drain,
                "Drain this node for the end of its gateway",
                {202: drain},
                body=DrainRequest,
                optional_body=True,
                changes=True,
                errors=(503,),
                tag="self",
            ),
            Operation(
                "DELETE",
                "/v1/self/drain",
                own.undrain,
                "Take that back",
                {200: drain},
                changes=True,
                errors=(409, 503),
                tag="self",
            ),
            Operation(
                "GET",
                "/v1/self/evictions",
                self._evictions.listen,
                "Which sessions to close",
                {200: Outcome("events: evict, over, end", stream=True)},
                changes=True,
                errors=(503,),
                tag="self",
            ),
        ]

    async def _describe(self, _: web.Request, __: Query) -> web.Response:
        return answer_bytes(self._document)


async def _expect(request: web.Request) -> None:
    """Let a client go on that waits for that; what else one may expect isn't met here."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
        return
    problem = plain_problem(417)
    raise web.HTTPExpectationFailed(body=problem.answer().body, content_type="application/json")


async def _serve(guard: Guard, operation: Operation, request: web.Request) -> web.StreamResponse:
    guard.admit(request, changes=operation.changes)
    query = Query.parse(request.rel_url.raw_query_string, operation.known)
    return await operation.handler(request, query)
