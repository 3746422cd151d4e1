"""One node of the gateway: an agent of clusterd, and the parts that make a message gateway of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Self

from clusterd import Agent, AgentStopped, Change, Drain, Topology, WaitTimeout
from clusterd.aio import Deadline, needing, run_together
from examples.gateway.courier import Courier
from examples.gateway.fleet import CLIENTS, LINK, Fleet
from examples.gateway.gate import Gate
from examples.gateway.handover import Removals
from examples.gateway.hub import Hub
from examples.gateway.janitor import Janitor, Retention
from examples.gateway.keeper import Keeper
from examples.gateway.links import Line, Loopback
from examples.gateway.log import MessageLog
from examples.gateway.mesh import Mesh
from examples.gateway.peering import Cleared, Expire, HandedOver, Handover, Spoken
from examples.gateway.reception import Reception

log = logging.getLogger(__name__)

_HANDOVER_SECONDS = 10.0
_CATCH_UP_SECONDS = 3.0
_ASK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Settings:
    """How a node is run. Addresses are `host`, `port`; port 0 takes a free one. Times in seconds.

    `advertise_link` is told to other nodes in place of the address where links are taken. `coalesce` is how long frames
    are gathered before they are written: 0 gathers those of one turn of the event loop. `within` is the time over which
    the clients of a drain are asked to come back elsewhere.
    """

    node: str
    etcd: str
    secret: bytes
    host: str = "127.0.0.1"
    port: int = 0
    link_port: int = 0
    advertise_link: str = ""
    prefix: str = "/"
    ttl: int = 10
    zone: str = ""
    weight: int = 100
    coalesce: float = 0.0
    within: float = 2.0
    user_secret: bytes = b""
    retention: Retention = field(default_factory=Retention)
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None


class Gateway:
    """A node of the gateway: `async with gateway: ...`, and `await gateway.drain()` before the end.

    Entering raises what `clusterd.Agent` does, and `OSError` for an address that can't be had.
    """

    def __init__(self, settings: Settings, messages: MessageLog) -> None:
        self.settings = settings
        node = settings.node
        self.fleet = fleet = Fleet(node)
        self.courier = Courier(fleet)
        self.hub = Hub(fleet, self.courier, coalesce=settings.coalesce)
        self.gate = Gate(node, shared=messages.shared)
        self.keeper = Keeper(fleet, messages, self.courier, self.gate)
        self.removals = Removals(fleet, messages, self.keeper, self.gate)
        self.janitor = Janitor(fleet, messages, settings.retention)
        self.mesh = Mesh(
            fleet, settings.secret, self._at_edge, self._at_keeper, self.keeper.line_down, tls=settings.tls
        )
        self.reception = Reception(
            node,
            self.hub,
            self.courier,
            remember=messages.limits.remember,
            user_secret=settings.user_secret,
            stats=self.stats,
        )
        self.messages = messages
        self._wanted = 0
        self._behind = asyncio.Event()
        self.keeper.on_behind = self._fall_behind
        self._chores: asyncio.Queue[tuple[Line, Handover | Expire]] = asyncio.Queue()
        self._agent: Agent | None = None
        self._life = contextlib.AsyncExitStack()
        self._loopback = Loopback.pair(node, self._at_edge, self._at_keeper)

    @property
    def agent(self) -> Agent:
        """The agent of clusterd; there is one once the gateway was entered."""
        assert self._agent is not None  # noqa: S101 - see above
        return self._agent

    async def __aenter__(self) -> Self:
        try:
            await self._enter()
        except BaseException:
            await self._life.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        return await self._life.__aexit__(*error)  # type: ignore[arg-type]

    async def drain(self, deadline: float) -> None:
        """Send the clients elsewhere, and hand over what is kept here; in about `deadline` seconds."""
        until = Deadline.after(deadline)
        progress = await self.agent.drain(deadline=deadline, over=min(self.settings.within, deadline / 2))
        log.info("drained: %d sessions moved, %s left", progress.moved, progress.left)
        self._take(self.agent.topology)
        try:
            async with asyncio.timeout(until.remaining + _HANDOVER_SECONDS):
                await self.removals.settled.wait()
        except TimeoutError:
            log.warning("not everything could be handed over: it stays in the log, and is when this node is back")
        else:
            log.info("everything is handed over")

    def stats(self) -> dict[str, object]:
        """Return some figures."""
        return {
            "node": self.settings.node,
            "revision": self.fleet.topology.revision,
            "connections": len(self.reception.connections),
            "sessions": len(self.reception.sessions),
            "streams": len(self.hub.feeds),
            "links": sorted(self.fleet.lines),
            "unanswered": len(self.courier),
            "gate": "open" if self.gate.open else "held",
        }

    async def _enter(self) -> None:
        settings, life = self.settings, self._life
        await life.enter_async_context(self._closing())
        await life.enter_async_context(self.mesh.listening(settings.host, settings.link_port))
        await life.enter_async_context(self.reception.listening(settings.host, settings.port))
        self._agent = self._make_agent()
        agent = await life.enter_async_context(self._agent)
        changes = agent.changes()
        await life.enter_async_context(self.mesh.dialling())
        self.fleet.line_up(self._loopback[0])
        self._begin(agent.topology)
        parts = run_together(
            **{
                "gateway topology": self._follow(changes),
                "gateway keeper": self.keeper.run(),
                "gateway removals": self.removals.run(),
                "gateway chores": self._do_chores(),
                "gateway revisions": self._catch_up_for_ever(),
                "gateway clock": self._look_for_ever(),
                "gateway janitor": agent.singleton("gateway-janitor", self.janitor.lead),
            }
        )
        await life.enter_async_context(needing(parts, name=f"gateway {settings.node}"))

    def _make_agent(self) -> Agent:
        settings = self.settings
        address = f"{settings.host}:{self.reception.port}"
        scheme = "wss" if settings.tls else "ws"
        link = settings.advertise_link or f"{settings.host}:{self.mesh.port}"
        agent = Agent(
            settings.node,
            address,
            etcd=settings.etcd,
            prefix=settings.prefix,
            ttl=settings.ttl,
            zone=settings.zone,
            weight=settings.weight,
            endpoints={CLIENTS: f"ws://{address}/ws", LINK: f"{scheme}://{link}/link"},
        )
        agent.sessions.count_with(lambda: len(self.reception.connections))
        agent.on_drain(self._evacuate)
        return agent

    async def _evacuate(self, drain: Drain) -> None:
        async for batch in drain.batches(lambda: self.reception.connections):
            for connection in batch:
                places = [] if connection.proxied else self._places(connection.session.user)
                connection.dismiss(places, self.settings.within, "this node is drained")

    def _places(self, user: str) -> list[str]:
        """Return where a client should go: first to where its mailbox is."""
        nodes = self.fleet.topology.route(f"user:{user}", n=3).nodes
        return [node.endpoints[CLIENTS] for node in nodes if CLIENTS in node.endpoints]

    def _begin(self, topology: Topology) -> None:
        """Take the first topology: what this node owns in it, others may have kept until now."""
        others = [node for node in topology if node.id != self.settings.node]
        # It was listed: others need never come to its revision. They have seen us once they are at that of our record.
        ours = topology.nodes.get(self.settings.node)
        self.gate.change(Topology.of(others, topology.revision), topology, ours.mod_revision if ours else 0)
        self.mesh.follow(topology)
        self.fleet.take(topology)

    def _take(self, topology: Topology) -> None:
        before = self.fleet.topology
        if topology.revision != before.revision or topology.cluster_id != before.cluster_id:
            self.gate.change(before, topology)
            self.mesh.follow(topology)
        self.fleet.take(topology)

    async def _follow(self, changes: AsyncIterator[Change]) -> None:
        async for change in changes:
            self._take(change.after)

    def _at_edge(self, line: Line, message: Spoken) -> None:
        """Take what a keeper says on a line that this node dialled."""
        if isinstance(message, HandedOver):
            self.removals.hear(line, message)
        else:
            self.hub.hear(line, message)

    def _at_keeper(self, line: Line, message: Spoken) -> None:
        """Take what another node says on a line that it dialled."""
        if isinstance(message, Cleared):
            if message.cluster_id == self.fleet.topology.cluster_id:
                self.gate.cleared(line.peer, message.revision)
        elif isinstance(message, Handover | Expire):
            self._chores.put_nowait((line, message))
        else:
            self.keeper.hear(line, message)

    async def _do_chores(self) -> None:
        while True:
            line, message = await self._chores.get()
            if isinstance(message, Expire):
                await self.janitor.expire(message)
            else:
                await self.removals.take_over(line, message)

    def _fall_behind(self, revision: int) -> None:
        if revision > self.fleet.topology.synced_revision:
            self._wanted = revision
            self._behind.set()

    async def _catch_up_for_ever(self) -> None:
        """Have etcd asked about revisions that others routed by: no change need ever come with them."""
        while True:
            await self._behind.wait()
            self._behind.clear()
            revision = self._wanted
            with contextlib.suppress(WaitTimeout, AgentStopped):
                topology = await self.agent.wait_for(revision, _CATCH_UP_SECONDS)
                if self.fleet.synced(topology):  # else another one is about to be taken, and that looks
                    self.keeper.look_again()
            await asyncio.sleep(_ASK_SECONDS)

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(1)
            self.keeper.look(time.monotonic())

    @contextlib.asynccontextmanager
    async def _closing(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self.courier.close()
            self.hub.close()
            self.keeper.close()
            await self.messages.close()
