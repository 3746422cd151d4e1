"""This node over HTTP: what it is, how many sessions it has, and its drain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

from clusterd.agent import Agent
from clusterd.errors import Conflict
from clusterd.node import Node, NodeState
from clusterd.sidecar.gateway import Gateway
from clusterd.sidecar.http.answers import answer, bad_request, not_ready
from clusterd.sidecar.http.documents import (
    DrainDocument,
    DrainRequest,
    NodeDocument,
    SelfDocument,
    SelfRequest,
    StatsDocument,
    fields_given,
)
from clusterd.sidecar.http.encoding import topology_document
from clusterd.sidecar.http.operations import body_of
from clusterd.sidecar.http.queries import Query

UPDATE_SECONDS = 5.0
"""For how long a change of the node's record waits for etcd before it is answered as merely taken."""


class Own:
    """Answers what concerns this node, and lets its gateway change it."""

    def __init__(self, agent: Agent, gateway: Gateway, led: Callable[[], list[str]]) -> None:
        self._agent = agent
        self._gateway = gateway
        self._led = led

    async def show(self, _: web.Request, __: Query) -> web.Response:
        """Answer what this node is, and how it is doing."""
        return answer(self._document())

    async def change(self, request: web.Request, _: Query) -> web.Response:
        """Change the node's record: 200 once etcd has it, 202 where that takes longer."""
        given = fields_given(await body_of(request, SelfRequest))
        if not given:
            raise bad_request("there is nothing to change: give state, weight, zone, labels or endpoints")
        self._check_running()
        if "state" in given:
            given["state"] = NodeState(given["state"])
        try:
            async with asyncio.timeout(UPDATE_SECONDS):
                await self._agent.update(**given)
        except TimeoutError:
            return answer(self._document(), status=202)
        return answer(self._document())

    async def count(self, request: web.Request, _: Query) -> web.Response:
        """Take over how many sessions the gateway has."""
        stats = await body_of(request, StatsDocument)
        self._gateway.report(stats.sessions)
        return answer(stats)

    async def progress(self, _: web.Request, __: Query) -> web.Response:
        """Answer how the drain goes."""
        return answer(DrainDocument(self._agent.draining))

    async def drain(self, request: web.Request, _: Query) -> web.Response:
        """Begin to drain for the end of the gateway, or go on at these terms."""
        wanted = await body_of(request, DrainRequest, optional=True)
        self._check_running()
        progress = self._agent.start_drain(
            deadline=wanted.deadline, rate=wanted.rate, over=wanted.over, settle=wanted.settle, reason=wanted.reason
        )
        return answer(DrainDocument(progress), status=202)

    async def undrain(self, _: web.Request, __: Query) -> web.Response:
        """Take back a drain that was begun here; one that operators asked for is theirs to take back."""
        self._check_running()
        undrained, progress = self._agent.undrain(), self._agent.draining
        if not undrained and progress is not None and not progress.aborted:
            raise Conflict("this drain was asked for by an operator: take it back with clusterctl undrain")
        return answer(DrainDocument(progress))

    def _document(self) -> SelfDocument:
        agent = self._agent
        return SelfDocument(
            node=NodeDocument.of(self._node()),
            session=agent.session.state.value,
            lease_seconds=round(agent.session.remaining, 3),
            ready=agent.ready,
            sessions=agent.sessions.count,
            attached=self._gateway.attached,
            drain=agent.draining,
            leads=self._led(),
            topology=topology_document(agent.topology),
        )

    def _node(self) -> Node:
        """Return this node as it wants to be registered, with what etcd is known to have beside the record."""
        node = self._agent.node
        seen = self._agent.topology.nodes.get(node.id)
        if seen is None or seen.instance != node.instance:
            return node
        return node.replace(lease=seen.lease, mod_revision=seen.mod_revision)

    def _check_running(self) -> None:
        if not self._agent.session.began:
            raise not_ready("the node is not registered yet")
