"""What a gateway would do without clusterd, with aiohttp and json alone: the other side of the benches.

    python -m bench.peers watch URL            say when each event arrived
    python -m bench.peers idle URL [MODULES]   hold a watch that brings nothing; MODULES are imported too
    python -m bench.peers join URL FIRST COUNT TOTAL
    python -m bench.peers serve                answer every GET /v1/route with the same document

Imports nothing of clusterd.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

from bench.cues import cue, memory, say

_NO_LIMIT = aiohttp.ClientTimeout(total=None)
_TTL = 10
_NODE = {"id": "gw-00001", "address": "10.0.0.1:8080", "zone": "az-1", "endpoints": {"ws": "wss://gw-1.example.com/ws"}}


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


_NODES = {"key": text(b"/nodes/"), "range_end": text(b"/nodes0")}


@contextlib.asynccontextmanager
async def watching(session: aiohttp.ClientSession, url: str, revision: int) -> AsyncIterator[aiohttp.ClientResponse]:
    """Open a watch on all nodes, and read past etcd's word that it exists."""
    request = {"create_request": {**_NODES, "start_revision": revision}}
    async with session.post(f"{url}/v3/watch", json=request, timeout=_NO_LIMIT) as response:
        assert json.loads(await response.content.readline())["result"]["created"]
        yield response


async def call(session: aiohttp.ClientSession, url: str, rpc: str, request: dict[str, Any]) -> Any:
    async with session.post(f"{url}/v3{rpc}", json=request) as response:
        return json.loads(await response.read())


async def watch(url: str) -> None:
    arrived: list[tuple[int, float]] = []

    async def read(response: aiohttp.ClientResponse) -> None:
        async for line in response.content:
            events = json.loads(line)["result"].get("events", ())
            arrived.extend((int(event["kv"]["mod_revision"]), time.monotonic()) for event in events)

    async with aiohttp.ClientSession() as session, watching(session, url, 0) as response:
        say("ready")
        reading = asyncio.create_task(read(response), name="bench watch")
        await cue()
        reading.cancel()
    say(arrived)


async def idle(url: str, modules: str = "") -> None:
    for module in filter(None, modules.split(",")):
        importlib.import_module(module)
    async with aiohttp.ClientSession() as session, watching(session, url, 0):
        say("ready")
        await cue()
        spent = time.process_time()
        await cue()
        say({"cpu": time.process_time() - spent, **memory()})


async def join(url: str, first: str, count: str, total: str) -> None:
    say("ready")
    await cue()
    started, spent = time.monotonic(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        seen: list[asyncio.Future[float]] = []
        for number in range(int(first), int(first) + int(count)):
            seen.append(asyncio.get_running_loop().create_future())
            tasks.create_task(live(url, f"gw-{number:05}", int(total), seen[-1]), name=f"bench gw-{number:05}")
        times = [await one - started for one in seen]
        say({"seen": times, "cpu": time.process_time() - spent, "troubles": {}})
        await cue()


async def live(url: str, name: str, total: int, seen: asyncio.Future[float]) -> None:
    """Be a node; set `seen` to when `total` nodes were known, and stay until the process is killed."""
    async with aiohttp.ClientSession(timeout=_NO_LIMIT) as session, asyncio.TaskGroup() as tasks:
        lease = (await call(session, url, "/lease/grant", {"TTL": _TTL}))["ID"]
        tasks.create_task(renew(session, url, lease), name=f"bench renewals of {name}")
        value = json.dumps({"id": name, "address": "10.0.0.1:8080"}).encode()
        record = {"key": text(b"/nodes/" + name.encode()), "value": text(value), "lease": lease}
        await call(session, url, "/kv/put", record)
        listed = await call(session, url, "/kv/range", _NODES)
        nodes = {kv["key"]: decoded(kv) for kv in listed["kvs"]}
        async with watching(session, url, int(listed["header"]["revision"]) + 1) as response:
            while len(nodes) < total:
                events = json.loads(await response.content.readline())["result"].get("events", ())
                nodes.update((event["kv"]["key"], decoded(event["kv"])) for event in events)
            seen.set_result(time.monotonic())
            async for _ in response.content:
                pass


def decoded(kv: dict[str, str]) -> Any:
    return json.loads(base64.b64decode(kv["value"]))


async def serve() -> None:
    async def route(request: web.Request) -> web.Response:
        return web.json_response({"key": request.query["key"], "owner": _NODE, "nodes": [_NODE] * 3})

    app = web.Application()
    app.router.add_get("/v1/route", route)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    say("ready")
    say(site.port)
    await cue()
    await runner.cleanup()


async def renew(session: aiohttp.ClientSession, url: str, lease: str) -> None:
    while True:
        await asyncio.sleep(_TTL / 3)
        await call(session, url, "/lease/keepalive", {"ID": lease})


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    asyncio.run({"watch": watch, "idle": idle, "join": join, "serve": serve}[kind](*arguments))
