"""One request through the proxy: find a node, ask it, ask another where that is safe, pass the answer on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

from clusterd import Node, Topology
from clusterd.aio import Signal
from examples.router.balancing import Balancer
from examples.router.body import Body
from examples.router.failures import AttemptFailed, Failure
from examples.router.headers import Headers, is_websocket, passed, to_client, to_node, upgrading
from examples.router.keys import key_of
from examples.router.pools import Destination, Pools, destination
from examples.router.settings import Settings
from examples.router.tunnel import Tunnel
from examples.router.upstreams import Leash, Upstreams

log = logging.getLogger(__name__)

# RFC 9110, 9.2.2: to send these twice is to send them once.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
_RESTART = 1012  # "service restart": come back, there are others
_UNTOUCHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_SCHEMES = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
# What aiohttp would add by itself: the node is to get what the client sent.
_NOT_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class Proxy:
    """The handler of all requests. An async context manager: it holds the connections to the nodes."""

    def __init__(self, topology: Callable[[], Topology], settings: Settings) -> None:
        self.settings = settings
        self._limits = settings.limits
        self._pools = Pools(topology, settings)
        self.upstreams = Upstreams(self._limits.gone)
        self._balancer = Balancer(settings.strategy, self.upstreams)
        self._key_of = key_of(settings.hash_by)
        self.via = f"clusterd-{secrets.token_hex(4)}"
        self._session: aiohttp.ClientSession | None = None
        self.in_flight = 0
        self.stopping = False
        self._ended = Signal()

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._limits.connect, sock_read=self._limits.answer)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # what is under way is limited for all nodes together
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_NOT_ADDED,
            timeout=timeout,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if self.in_flight >= self._limits.in_flight:
            return Failure(503, "too_busy", "too many requests are under way here").response()
        self.in_flight += 1
        try:
            response = await self._serve(request)
        except Failure as failure:
            response = failure.response()
        finally:
            self.in_flight -= 1
            self._ended.fire()
        if self.stopping and not response.prepared:
            response.force_close()
        return response

    async def stop(self, grace: float) -> None:
        """Close WebSockets one by one, and wait for requests to end, so many seconds at the most."""
        self.stopping = True
        self.upstreams.close(grace / 2, _RESTART, "the router stops: connect again")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                while self.in_flight:
                    await self._ended.wait()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "CONNECT":
            raise Failure(405, "no_tunnel", "this is no forward proxy")
        if passed(request.headers, self.via):
            raise Failure(508, "loop", "the node that this goes to is the router itself")
        where = destination(request.raw_path, self.settings.services_under)
        body = await Body.of(request, self._limits)
        return await _Exchange(self, request, where, body).run()

    def choose(self, where: Destination, request: web.BaseRequest, tried: dict[str, AttemptFailed]) -> Node:
        """Return the node to ask next. Raises `Failure`: that of the last one asked, where all were."""
        pool = self._pools.of(where.service)
        node = self._balancer.choose(where.service, pool, self._key_of(request), tried) if pool else None
        if node is not None:
            return node
        if tried:
            raise next(reversed(tried.values()))
        of_service = f" of service {where.service}" if where.service else ""
        raise Failure(503, "no_node", f"no node{of_service} is active")

    async def ask(
        self, node: Node, request: web.BaseRequest, target: str, headers: Headers, body: Body
    ) -> aiohttp.ClientResponse:
        """Send the request to a node, and return the answer once its head is there. Raises `AttemptFailed`."""
        assert self._session is not None  # noqa: S101 - it is entered before it serves
        try:
            return await self._session.request(
                request.method,
                URL(origin(node, self.settings.endpoint) + target, encoded=True),
                headers=headers,
                data=body.data(),
                allow_redirects=False,
            )
        except (aiohttp.ClientError, ConnectionError, TimeoutError, ValueError) as error:
            raise body.failure or _explained(error) from error

    def headers(self, request: web.BaseRequest, where: Destination) -> Headers:
        """Return the headers that the node gets."""
        peer = request.remote or ""
        headers = to_node(
            request.headers,
            peer=peer,
            scheme=request.scheme,
            prefix=where.prefix,
            trusted=self.settings.trusts(peer),
            via=self.via,
        )
        return upgrading(headers) if is_websocket(request.method, request.headers) else headers


class _Exchange:
    """One request and its answer, by as many attempts as it takes and the limits allow."""

    def __init__(self, proxy: Proxy, request: web.BaseRequest, where: Destination, body: Body) -> None:
        self._proxy = proxy
        self._request = request
        self._where = where
        self._body = body
        self._limits = proxy.settings.limits
        self._tried: dict[str, AttemptFailed] = {}

    async def run(self) -> web.StreamResponse:
        """Ask nodes until one answers. Raises `Failure`."""
        while True:
            node = self._proxy.choose(self._where, self._request, self._tried)
            upstream = self._proxy.upstreams.of(node)
            with upstream.session() as leash:
                try:
                    answer, held = await self._attempt(node, leash)
                except AttemptFailed as failure:
                    if failure.dead:
                        upstream.failed(failure.message)
                    self._tried[node.id] = failure
                    if not self._may_repeat(failure):
                        raise
                    continue
                upstream.succeeded()
                try:
                    return await self._pass_on(answer, held, leash)
                finally:
                    answer.close()

    def _may_repeat(self, failure: AttemptFailed) -> bool:
        if len(self._tried) >= self._limits.attempts or not self._body.repeatable:
            return False
        return failure.untouched or (self._request.method in _IDEMPOTENT and failure.status != 504)

    async def _attempt(self, node: Node, leash: Leash) -> tuple[aiohttp.ClientResponse, bytes | None]:
        """Return a node's answer, and its body where that is short: a node that dies within it has not answered."""
        headers = self._proxy.headers(self._request, self._where)
        try:
            async with leash:
                answer = await self._proxy.ask(node, self._request, self._where.target, headers, self._body)
                try:
                    return answer, await self._short_body(answer)
                except BaseException:
                    answer.close()
                    raise
        except TimeoutError:
            raise AttemptFailed(502, "node_failed", "the node left the fleet before it answered") from None

    async def _short_body(self, answer: aiohttp.ClientResponse) -> bytes | None:
        length = answer.content_length
        if answer.status == 101 or (length is None or length > self._limits.replay):
            return None
        try:
            return await answer.read()
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise _explained(error) from error

    async def _pass_on(self, answer: aiohttp.ClientResponse, held: bytes | None, leash: Leash) -> web.StreamResponse:
        via = self._proxy.via
        if answer.status == 101:
            return await Tunnel(self._request, answer, self._limits, via).run(leash)
        headers = to_client(answer.headers, via=via)
        if held:
            return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=held)
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
        await response.prepare(self._request)
        await self._stream(answer, response)
        return response

    async def _stream(self, answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        """Pass the body on as it comes. Raises `ConnectionError` if either side fails: the client sees it cut off."""
        while True:
            try:
                chunk = await answer.content.readany()
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("an answer to %s broke off: %s", self._request.method, error)
                raise ConnectionResetError("the node broke off its answer") from error
            if not chunk:
                return
            try:
                async with asyncio.timeout(self._limits.client):
                    await response.write(chunk)
            except TimeoutError:
                raise ConnectionResetError("the client takes nothing") from None


def origin(node: Node, endpoint: str) -> str:
    """Return the scheme, host and port to reach a node at: its endpoint of that name, or for "" its address.

    Raises `AttemptFailed` for a node without that endpoint: another one may have it.
    """
    if not endpoint:
        return f"http://{node.address}"
    url = URL(node.endpoints.get(endpoint, ""))
    if url.scheme not in _SCHEMES or not url.host:
        raise AttemptFailed(502, "no_endpoint", f"the node has no endpoint {endpoint!r}", untouched=True, dead=False)
    return str(url.with_scheme(_SCHEMES[url.scheme]).origin())


def _explained(error: Exception) -> AttemptFailed:
    """Say what became of an attempt, without naming a node to the world: the log does."""
    if isinstance(error, _UNTOUCHED):
        return AttemptFailed(502, "node_unreachable", "the node can't be reached", untouched=True)
    if isinstance(error, TimeoutError):
        return AttemptFailed(504, "node_timeout", "the node did not answer in time")
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return AttemptFailed(502, "bad_answer", "the node's answer is no HTTP", dead=False)
    return AttemptFailed(502, "node_failed", "the node closed the connection before it answered")
