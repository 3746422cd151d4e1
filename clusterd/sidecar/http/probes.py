"""The probes: is the daemon alive, has it started, should new sessions come here; and its metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
from aiohttp import web

from clusterd.agent import Agent
from clusterd.node import NodeState
from clusterd.session import SessionState
from clusterd.sidecar.http.answers import answer
from clusterd.sidecar.http.listeners import errors_as_json

Render = Callable[[str], tuple[bytes, str]]
"""Renders metrics for an `Accept` header: the body, and its content type."""


class ProbeDocument(msgspec.Struct, frozen=True):
    """What a probe answers: `ok`, `degraded` (ready, and something is to be looked after) or `unready`; and why."""

    status: str
    reasons: list[str] = []


def make_probes(agent: Agent, render: Render | None = None) -> web.Application:
    """Return the application of the probes, with `/metrics` if there is something to render them."""
    app = web.Application(middlewares=[errors_as_json], client_max_size=1)
    app.router.add_get("/livez", _live)
    app.router.add_get("/startupz", partial(_startup, agent))
    app.router.add_get("/readyz", partial(_ready, agent))
    if render is not None:
        app.router.add_get("/metrics", partial(_metrics, render))
    return app


async def _live(_: web.Request) -> web.Response:
    """Say that the loop turns: that this is answered is the answer."""
    return answer(ProbeDocument("ok"))


async def _startup(agent: Agent, _: web.Request) -> web.Response:
    if agent.session.began:
        return answer(ProbeDocument("ok"))
    return answer(ProbeDocument("unready", ["the node is not registered yet"]), status=503)


async def _ready(agent: Agent, _: web.Request) -> web.Response:
    document = readiness(agent)
    return answer(document, status=503 if document.status == "unready" else 200)


async def _metrics(render: Render, request: web.Request) -> web.Response:
    body, content_type = render(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


def readiness(agent: Agent) -> ProbeDocument:
    """Return whether new sessions should come here.

    An etcd that is away makes it `degraded`, never `unready`: all gateways would be taken out of service at once, for
    sessions that they can serve.
    """
    if not agent.session.began:
        return ProbeDocument("unready", ["the node is not registered yet"])
    if agent.node.state is not NodeState.ACTIVE:
        return ProbeDocument("unready", [f"the node is {agent.node.state}"])
    reasons = []
    if agent.session.state is not SessionState.CONNECTED:
        reasons.append(f"etcd can't be reached: the registration is {agent.session.state}")
    if agent.topology.stale:
        reasons.append("the topology is stale: etcd can't confirm it")
    return ProbeDocument("degraded" if reasons else "ok", reasons)
