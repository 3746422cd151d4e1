"""The router's life: follow the fleet, listen, serve, stop gently."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgspec
from aiohttp import web

from clusterd import Observer, Topology
from clusterd.aio import beside, on_first_signal
from examples.router.proxy import Proxy
from examples.router.settings import Limits, Settings

log = logging.getLogger(__name__)

_BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to listen. Port 0 takes a free one."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    shared: bool = False
    """Whether other processes listen on the same port (SO_REUSEPORT), a router each."""


async def serve(observer: Observer, listener: Listener, settings: Settings, probes: Listener | None = None) -> None:
    """Be the front door until SIGTERM or SIGINT, then stop gently. A second signal ends the process at once.

    Raises `OSError` where it can't listen.
    """
    stop = asyncio.Event()
    async with observer, Proxy(lambda: observer.topology, settings) as proxy:
        with on_first_signal(stop.set):
            async with (
                beside(_follow(observer, proxy), name="router topology"),
                _probing(probes, observer, proxy, stop),
                _listening(listener, proxy.handle, settings.limits) as (address, site),
            ):
                scheme = "https" if listener.tls else "http"
                print(f"listening on {scheme}://{address}, {len(observer.topology)} nodes", flush=True)
                await stop.wait()
                log.info("stopping, with %d requests and WebSockets under way", proxy.in_flight)
                await site.stop()
                await proxy.stop(settings.limits.grace)


async def _follow(observer: Observer, proxy: Proxy) -> None:
    async for change in observer.changes():
        proxy.upstreams.follow(change.after)


@contextlib.asynccontextmanager
async def _listening(
    listener: Listener, handler: Callable[[web.BaseRequest], object], limits: Limits
) -> AsyncIterator[tuple[str, web.BaseSite]]:
    """Answer requests by `handler`; yields `host:port` and what stops listening."""
    server = web.Server(
        handler,  # type: ignore[arg-type]
        handler_cancellation=True,  # nobody works for a client that has gone
        auto_decompress=False,
        keepalive_timeout=limits.idle,
        access_log=None,
    )
    runner = web.ServerRunner(server, shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(
            runner,
            listener.host,
            listener.port,
            ssl_context=listener.tls,
            backlog=_BACKLOG,
            reuse_port=listener.shared or None,
        )
        await site.start()
        yield _shown(*runner.addresses[0][:2]), site
    finally:
        await runner.cleanup()


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextlib.asynccontextmanager
async def _probing(
    listener: Listener | None, observer: Observer, proxy: Proxy, stop: asyncio.Event
) -> AsyncIterator[None]:
    """Answer `/livez`, `/readyz` and `/nodes` on a listener of their own, that the world doesn't reach."""
    if listener is None:
        yield
        return

    async def probe(request: web.BaseRequest) -> web.Response:
        if request.path == "/livez":
            return web.Response(text="ok\n")
        if request.path == "/readyz":
            return web.Response(text="stopping\n", status=503) if stop.is_set() else web.Response(text="ok\n")
        if request.path == "/nodes":
            body = msgspec.json.encode(_seen(observer.topology, proxy))
            return web.Response(body=body, content_type="application/json")
        return web.Response(status=404, text="ask for /livez, /readyz or /nodes\n")

    async with _listening(listener, probe, Limits()) as (address, _):
        print(f"probes on http://{address}", flush=True)
        yield


def _seen(topology: Topology, proxy: Proxy) -> object:
    known = {upstream.node.id: upstream for upstream in proxy.upstreams}
    return {
        "revision": topology.revision,
        "stale": topology.stale,
        "in_flight": proxy.in_flight,
        "nodes": {
            node.id: {
                "state": node.state,
                "healthy": node.id not in known or known[node.id].healthy,
                "active": known[node.id].active if node.id in known else 0,
                "requests": known[node.id].requests if node.id in known else 0,
            }
            for node in topology
        },
    }
