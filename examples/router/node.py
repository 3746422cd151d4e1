"""A node to try the router with: `python -m examples.router.node ID --etcd URL`.

`GET /` says who it is and what it got, `/ws` sends back what it gets, `/slow` trickles. On SIGTERM it drains:
WebSockets are closed with 1012 ("service restart"), and requests that are under way end.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import Any

import click
from aiohttp import WSCloseCode, web

import clusterd
from clusterd.etcd.process import free_ports

_CHUNK = 64 * 1024


class Service:
    """What the node does, over HTTP and WebSocket."""

    def __init__(self, node: str, delay: float) -> None:
        self._node = node
        self._delay = delay
        self._sockets: set[web.WebSocketResponse] = set()
        self._closes: list[int | None] = []

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/ws", self.echo)
        app.router.add_route("*", "/slow", self.slow)
        app.router.add_route("*", "/sink", self.sink)
        app.router.add_route("*", "/{path:.*}", self.tell)
        return app

    async def tell(self, request: web.Request) -> web.Response:
        """Say what came here."""
        await asyncio.sleep(float(request.query.get("wait", self._delay)))
        body = await request.read()
        return web.json_response(
            {
                "node": self._node,
                "method": request.method,
                "target": request.raw_path,
                "headers": [[name, value] for name, value in request.headers.items()],
                "bytes": len(body),
                "closes": self._closes,
            },
            headers={"Set-Cookie": f"seen={self._node}", "X-Secret-Hop": "1", "Connection": "X-Secret-Hop"},
        )

    async def slow(self, request: web.Request) -> web.StreamResponse:
        """Send `size` bytes in chunks, as many a second as `rate` says."""
        size, rate = int(request.query.get("size", "1000000")), float(request.query.get("rate", "inf"))
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(size // _CHUNK):
            await response.write(bytes(_CHUNK))
            await asyncio.sleep(_CHUNK / rate)
        return response

    async def sink(self, request: web.Request) -> web.Response:
        """Read the body at `rate` bytes a second, and count it."""
        count, rate = 0, float(request.query.get("rate", "inf"))
        async for chunk in request.content.iter_chunked(_CHUNK):
            count += len(chunk)
            await asyncio.sleep(len(chunk) / rate)
        return web.json_response({"node": self._node, "bytes": count})

    async def echo(self, request: web.Request) -> web.WebSocketResponse:
        """Send back what comes; "close 4001 why" closes so, "who" is answered by the node's id."""
        socket = web.WebSocketResponse(protocols=("chat",), max_msg_size=1 << 26)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is web.WSMsgType.BINARY:
                    await socket.send_bytes(message.data)
                elif message.data == "who":
                    await socket.send_str(self._node)
                elif message.data.startswith("close "):
                    _, code, why = message.data.split(" ", 2)
                    await socket.close(code=int(code), message=why.encode())
                else:
                    await socket.send_str(message.data)
        finally:
            self._sockets.discard(socket)
            self._closes.append(socket.close_code)
        return socket

    async def close(self) -> None:
        """Close all WebSockets."""
        for socket in tuple(self._sockets):
            await socket.close(code=WSCloseCode.SERVICE_RESTART, message=b"drained")


async def serve(node: str, etcd: str, port: int, delay: float, **options: Any) -> None:
    """Be the node until SIGTERM."""
    service, stop = Service(node, delay), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(service.app(), access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        port = port or free_ports(1)[0]
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        async with clusterd.Agent(node, f"127.0.0.1:{port}", etcd=etcd, **options) as agent:

            @agent.on_drain
            async def evacuate(_: clusterd.Drain) -> None:
                await service.close()

            agent.sessions.set(0)
            print(f"{node} is at 127.0.0.1:{port}", flush=True)
            await stop.wait()
            await agent.drain(deadline=5, settle=0.5)
            await service.close()
    finally:
        await runner.cleanup()


@click.command()
@click.argument("node")
@click.option("--etcd", default="http://127.0.0.1:2379", show_default=True)
@click.option("--port", type=int, default=0, help="0: a free one.")
@click.option("--weight", type=int, default=100, show_default=True)
@click.option("--service", default="", help="The service that it is a node of.")
@click.option("--ttl", type=int, default=10, show_default=True)
@click.option("--delay", default=0.0, help="Seconds that an answer takes.")
def main(node: str, etcd: str, port: int, weight: int, service: str, ttl: int, delay: float) -> None:
    """Be a node of the fleet that the router can pick."""
    labels = {"service": service} if service else {}
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(node, etcd, port, delay, weight=weight, labels=labels, ttl=ttl))


if __name__ == "__main__":
    try:
        main()
    except clusterd.ClusterdError as error:
        sys.exit(f"node: {error}")
