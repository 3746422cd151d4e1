"""Keeps a link to every node of the fleet, and takes those that the others dial."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator
from typing import Final

from picows import WSError, WSUpgradeRequest, ws_connect, ws_create_server

from clusterd import Topology
from clusterd.aio import Backoff, beside
from examples.gateway.fleet import LINK, Fleet
from examples.gateway.links import BEAT, Change, Credentials, Link, Receive

log = logging.getLogger(__name__)

_DIAL_SECONDS: Final = 3.0
_MAX_FRAME: Final = 256 * 1024 * 1024


class Mesh:
    """The links of one node.

    `at_edge` gets what keepers say on links that this node dialled, `at_keeper` what edges say on links that were
    dialled to it; `gone` is called when one of the latter ends. `tls` are a context for the links that we dial and one
    for those we take: with both mutual TLS can be had, the secret is asked for either way.
    """

    def __init__(
        self,
        fleet: Fleet,
        secret: bytes,
        at_edge: Receive,
        at_keeper: Receive,
        gone: Change,
        *,
        tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
    ) -> None:
        self.port = 0
        self._fleet = fleet
        self._credentials = Credentials(fleet.node, secret)
        self._at_edge, self._at_keeper, self._gone = at_edge, at_keeper, gone
        self._dial_tls: ssl.SSLContext | None = tls[0] if tls else None
        self._serve_tls: ssl.SSLContext | None = tls[1] if tls else None
        self._links: set[Link] = set()
        self._dials: dict[str, tuple[str, asyncio.Task[None]]] = {}

    @contextlib.asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[None]:
        """Take links on this address while the body runs; `port` tells which one it is."""
        server = await ws_create_server(
            self._accept,
            host,
            port,
            ssl=self._serve_tls,
            max_frame_size=_MAX_FRAME,
            logger_name="gateway.links",
        )
        self.port = server.sockets[0].getsockname()[1]
        try:
            async with beside(self._beat(), name=f"gateway links of {self._fleet.node}"):
                yield
        finally:
            server.close()
            for link in tuple(self._links):
                link.close("the node ends")
            await server.wait_closed()

    @contextlib.asynccontextmanager
    async def dialling(self) -> AsyncIterator[None]:
        """Keep the links that `follow` asks for while the body runs."""
        async with asyncio.TaskGroup() as self._tasks:
            try:
                yield
            finally:
                for _, task in self._dials.values():
                    task.cancel()
                self._dials.clear()

    def follow(self, topology: Topology) -> None:
        """Dial who is in the topology, and let go who isn't."""
        wanted = {
            node.id: node.endpoints[LINK]
            for node in topology
            if node.id != self._fleet.node and LINK in node.endpoints and not node.foreign
        }
        for node_id, (url, task) in tuple(self._dials.items()):
            if wanted.get(node_id) != url:
                task.cancel()
                del self._dials[node_id]
                if line := self._fleet.lines.get(node_id):
                    line.close("it left the topology")
        for node_id in wanted.keys() - self._dials.keys():
            url = wanted[node_id]
            task = self._tasks.create_task(self._keep_link(node_id, url), name=f"gateway link to {node_id}")
            self._dials[node_id] = (url, task)

    async def _keep_link(self, node_id: str, url: str) -> None:
        backoff = Backoff(0.1, 2.0)
        while True:
            link = self._link(node_id)
            try:
                await self._dial(link, url)
            except (OSError, WSError, TimeoutError) as error:
                log.debug("link to %s: %s", node_id, error or "no answer")
            if link.lasted:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _dial(self, link: Link, url: str) -> None:
        """Connect, and return when the link is down. Raises what `ws_connect` does."""
        self._links.add(link)
        transport = None
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                transport, _ = await ws_connect(
                    lambda: link,
                    url,
                    ssl_context=self._dial_tls,
                    max_frame_size=_MAX_FRAME,
                    logger_name="gateway.links",
                )
            await transport.wait_disconnected()
        finally:
            self._links.discard(link)
            link.close("it is dialled no longer")
            if transport is not None and not transport.is_disconnected:
                transport.disconnect(False)

    def _accept(self, _: WSUpgradeRequest) -> Link:
        link = Link(self._credentials, None, self._at_keeper, lambda _: None, self._gone)
        link.on_end = self._links.discard
        self._links.add(link)
        return link

    def _link(self, node_id: str) -> Link:
        return Link(self._credentials, node_id, self._at_edge, self._fleet.line_up, self._fleet.line_down)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            now = time.monotonic()
            for link in tuple(self._links):
                link.look(now)
