"""One trace through a drain: the operator's command, the node's stages, the gateway's hook; as a collector gets it."""

from __future__ import annotations

import gzip
import os
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from clusterd.testing import AgentProcess, eventually

CLUSTERCTL = (sys.executable, "-m", "clusterctl")


class Collector:
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: dict[str, tuple[str, Any]] = {}
        self.url = ""

    async def serve(self, stack: AsyncExitStack) -> None:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if body.startswith(b"\x1f\x8b"):
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            for scope in resource.scope_spans:
                self.spans.update({span.name: (service, span) for span in scope.spans})
        return web.Response()


def environ(collector_url: str) -> dict[str, str]:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector_url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    return {**os.environ, **settings}


async def test_one_trace_leads_from_the_operator_s_command_to_the_gateway(yard: Any) -> None:
    async with AsyncExitStack() as stack:
        collector, gateway = Collector(), await yard.gateway(3)
        await collector.serve(stack)
        env = environ(collector.url)
        await yard.hooked(gateway, env=env)
        arguments = ("--endpoints", yard.etcd.endpoint, "drain", "gw-1", "--settle", "0.2s", "-y")
        async with AgentProcess(*arguments, command=CLUSTERCTL, env=env) as drain:
            assert await drain.wait(60) == 0, drain.lines

        async def all_there() -> bool:
            return {"clusterctl.drain", "clusterd.drain", "clusterd.hook.drain"} <= collector.spans.keys()

        await eventually(all_there, what="the spans at the collector")
        spans = {name: span for name, (_, span) in collector.spans.items()}
        assert {name: service for name, (service, _) in collector.spans.items()}["clusterctl.drain"] == "clusterctl"
        assert len({span.trace_id for span in spans.values()}) == 1
        assert spans["clusterd.drain"].parent_span_id == spans["clusterctl.drain"].span_id
        for stage in ("settle", "move"):
            assert spans[f"clusterd.drain.{stage}"].parent_span_id == spans["clusterd.drain"].span_id
        assert spans["clusterd.hook.drain"].parent_span_id == spans["clusterd.drain.move"].span_id
        trace_id = spans["clusterd.drain"].trace_id.hex()
        assert gateway.headers[0]["traceparent"].split("-")[1] == trace_id


async def test_without_tracing_the_operator_s_trace_still_reaches_the_gateway(yard: Any) -> None:
    gateway, trace_id = await yard.gateway(1), "4bf92f3577b34da6a3ce929d0e0e4736"
    await yard.hooked(gateway)
    env = {**os.environ, "TRACEPARENT": f"00-{trace_id}-00f067aa0ba902b7-01"}
    arguments = ("--endpoints", yard.etcd.endpoint, "drain", "gw-1", "--settle", "0.2s", "-y")
    async with AgentProcess(*arguments, command=CLUSTERCTL, env=env) as drain:
        assert await drain.wait(60) == 0, drain.lines
    assert gateway.headers[0]["traceparent"] == env["TRACEPARENT"]


async def test_a_collector_that_is_gone_holds_nothing_up(yard: Any) -> None:
    gateway = await yard.gateway(1)
    daemon = await yard.hooked(gateway, env=environ("http://127.0.0.1:9"))
    began = time.monotonic()
    assert await daemon.process.terminate(30) == 0
    assert time.monotonic() - began < 25
    assert gateway.sessions == 0
