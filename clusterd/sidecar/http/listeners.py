"""A listener: an application served at one address, with bounds on what a client can cost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from clusterd.sidecar.http.addresses import ListenAddress
from clusterd.sidecar.http.answers import plain_problem, problem_of

log = logging.getLogger(__name__)

MAX_BODY = 1024 * 1024
"""Bytes that a request's body may have."""

MAX_CONNECTIONS = 4096
"""Connections to one listener at a time; who comes then is hung up on."""

_FILES = 2 * MAX_CONNECTIONS + 1024
_IDLE_SECONDS = 75.0
_CLOSE_SECONDS = 1.5
_LINGER_SECONDS = 2.0


@contextlib.asynccontextmanager
async def serving(
    app: web.Application, address: ListenAddress, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve an application for the time of the body, which gets the URL; what is still open then is ended.

    Raises what `ListenAddress.bound` raises. A client that doesn't finish its request's head within 75 s is hung up
    on, and a handler is cancelled when its client goes.
    """
    with address.bound() as sock:
        runner = _Runner(
            app,
            access_log=None,
            handler_cancellation=True,
            keepalive_timeout=_IDLE_SECONDS,
            lingering_time=_LINGER_SECONDS,
            auto_decompress=False,
            shutdown_timeout=_CLOSE_SECONDS,
        )
        await runner.setup()
        try:
            site = web.SockSite(runner, sock, ssl_context=tls, backlog=1024)
            await site.start()
            yield str(address) if address.path else site.name
        finally:
            await runner.cleanup()


def allow_connections() -> None:
    """Raise this process's limit on open files as far as it may: the customary 1,024 are fewer than our bounds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Runner(web.AppRunner):
    """An `AppRunner` whose connections are `_Connection`s."""

    @property
    def server(self) -> Any:
        """What makes the protocol of each new connection."""
        options = {name: value for name, value in self._kwargs.items() if name in _PROTOCOL}
        loop, manager = asyncio.get_running_loop(), self._server
        return lambda: _Connection(manager, loop=loop, **options)  # type: ignore[arg-type]


_PROTOCOL = ("access_log", "keepalive_timeout", "lingering_time", "auto_decompress")


class _Connection(RequestHandler):
    """A connection that is refused above the bound, and on which also what isn't HTTP is answered in JSON."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._manager is not None and len(self._manager.connections) >= MAX_CONNECTIONS:
            transport.abort()  # type: ignore[attr-defined]
        super().connection_made(transport)

    def handle_error(
        self, _: web.BaseRequest, status: int = 500, exc: BaseException | None = None, __: str | None = None
    ) -> web.StreamResponse:
        """Answer what no handler could."""
        self.keep_alive(False)
        if status >= 500:
            log.error("a request failed", exc_info=exc)
        problem = plain_problem(status, "this is not a request that can be read" if status == 400 else "")
        answer = problem.answer()
        answer.force_close()
        return answer


Middleware = Callable[[web.Request, Callable[[web.Request], Any]], Any]


@web.middleware
async def errors_as_json(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Answer every error of a handler as JSON; one that is a fault of ours is logged."""
    try:
        response: web.StreamResponse = await handler(request)
    except (asyncio.CancelledError, ConnectionError):
        raise
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            log.exception("%s %s failed", request.method, request.path)
            problem = plain_problem(500, "the daemon failed to answer this; its log says more")
        return problem.answer()
    return response
