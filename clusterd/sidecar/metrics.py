"""The daemon's metrics: its agent's, and its own. docs/operations.md names them all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from clusterd.agent import Agent
from clusterd.metrics import SECONDS, AgentMetrics, counter, gauge, without_created
from clusterd.sidecar.hooks import HookCalls
from clusterd.sidecar.http.control import Control

_LOOK_EVERY = 1.0


class DaemonMetrics:
    """What `/metrics` shows of one daemon."""

    def __init__(self, agent: Agent) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(AgentMetrics(agent))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._lag = Histogram(
            "clusterd_event_loop_lag_seconds", "How late the event loop was", buckets=SECONDS, registry=None
        )

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the metrics in the format that an `Accept` header asks for, and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def show(self, control: Control, hooks: HookCalls) -> None:
        """Show what these count from now on."""
        self._registry.register(_DaemonCollector(control, hooks, self._lag))

    async def run(self) -> None:
        """Look once a second how late the event loop is, for ever."""
        while True:
            due = time.monotonic() + _LOOK_EVERY
            await asyncio.sleep(_LOOK_EVERY)
            self._lag.observe(max(0.0, time.monotonic() - due))


class _DaemonCollector(Collector):
    def __init__(self, control: Control, hooks: HookCalls, lag: Histogram) -> None:
        self._control = control
        self._hooks = hooks
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        control, hooks = self._control, self._hooks
        yield counter("clusterd_routes", "Keys routed for the gateway", (), {(): control.fleet.routed})
        yield counter(
            "clusterd_http_requests",
            "Requests that the control listener answered",
            ["route", "method", "code"],
            control.answered,
        )
        yield gauge("clusterd_http_streams", "Streams of events that are open", len(control.streams))
        yield counter("clusterd_hook_requests", "Calls of the gateway's hooks", ["hook", "outcome"], hooks.outcomes)
        yield from without_created(hooks.seconds)
        yield from without_created(self._lag)
