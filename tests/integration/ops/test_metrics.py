"""What the daemon serves at /metrics: all that docs/operations.md names, nothing else, and true while etcd is away."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from clusterd import Agent
from clusterd.metrics import AgentMetrics
from clusterd.node import Node, encode_node
from clusterd.testing import EtcdServer, TcpProxy, eventually

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def documented() -> set[str]:
    """The names in the metrics tables of docs/operations.md."""
    section = OPERATIONS.read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for line in lines for name in re.findall(r"`(clusterd_[^`{]+)", line)}


def shown(text: str) -> set[str]:
    """The names that are served, as queries use them."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(text)
        if family.name.startswith("clusterd_")
    }


async def becomes(daemon: Any, wanted: float, name: str, timeout: float = 20.0, **labels: str) -> None:
    async def look() -> bool:
        return bool(await daemon.value(name, **labels) == wanted)

    await eventually(look, timeout=timeout, what=f"{name}{labels or ''} {wanted:g}")


async def test_every_metric_that_is_documented_is_served_and_the_reverse(yard: Any) -> None:
    daemon = await yard.daemon()
    text, content_type = await daemon.metrics()
    assert content_type.startswith("text/plain")
    assert shown(text) == documented()
    assert "process_resident_memory_bytes" in text
    assert "python_info" in text


async def test_a_scraper_that_prefers_openmetrics_gets_it(yard: Any) -> None:
    daemon = await yard.daemon()
    text, content_type = await daemon.metrics("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = {family.name for family in openmetrics.text_string_to_metric_families(text)}
    assert "clusterd_etcd_requests" in families
    assert text.endswith("# EOF\n")


async def test_a_stopped_etcd_shows_and_so_does_its_return(yard: Any) -> None:
    daemon = await yard.daemon()
    await becomes(daemon, 1, "clusterd_registered")
    await becomes(daemon, 1, "clusterd_topology_nodes", state="active")
    assert await daemon.value("clusterd_etcd_requests_total", method="lease/grant", outcome="ok") == 1
    await yard.etcd.stop()
    await becomes(daemon, 1, "clusterd_topology_stale")
    await becomes(daemon, 0, "clusterd_registered")
    await becomes(daemon, 1, "clusterd_session_state", state="lost")
    assert await daemon.value("clusterd_topology_nodes", state="active") == 1
    assert await daemon.value("clusterd_topology_age_seconds") > 1
    assert await daemon.value("clusterd_etcd_requests_total", outcome="unavailable") >= 1
    assert await daemon.value("clusterd_etcd_endpoint_failures_total", endpoint=yard.etcd.endpoint) >= 1
    await yard.etcd.start()
    await becomes(daemon, 1, "clusterd_registered")
    await becomes(daemon, 0, "clusterd_topology_stale")
    assert await daemon.value("clusterd_session_losses_total") >= 1


async def test_what_the_gateway_asks_for_is_counted_by_path(yard: Any) -> None:
    daemon = await yard.daemon()
    for path in ("/v1/route?key=a", "/v1/route?key=b", "/v1/route", "/no/such/path"):
        await daemon.get(path)
    await daemon.call("DELETE", "/v1/route")
    await daemon.call("POST", "/v1/route", {"keys": ["a", "b", "c"]})
    value, name = daemon.value, "clusterd_http_requests_total"
    assert await value("clusterd_routes_total") == 5
    assert await value(name, route="/v1/route", method="GET", code="200") == 2
    assert await value(name, route="/v1/route", method="GET", code="400") == 1
    assert await value(name, route="other", method="other", code="404") == 1
    assert await value(name, route="other", method="other", code="405") == 1


async def test_an_election_that_is_led_over_http_shows_until_it_is_not(yard: Any) -> None:
    daemon = await yard.daemon()
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{daemon.control}/v1/leader/rebalancer") as response,
    ):
        assert response.status == 200
        await becomes(daemon, 1, "clusterd_election_leader", election="rebalancer")
    await becomes(daemon, 0, "clusterd_election_leader", election="rebalancer")
    assert await daemon.value("clusterd_election_terms_total", election="rebalancer") == 1


async def test_a_paused_daemon_shows_how_late_its_loop_was(yard: Any) -> None:
    daemon = await yard.daemon()
    daemon.process.pause()
    await asyncio.sleep(1.5)  # what is measured is this pause
    daemon.process.resume()

    async def late() -> bool:
        return bool((await daemon.value("clusterd_event_loop_lag_seconds_sum") or 0) > 0.4)

    await eventually(late, what="the pause in the loop's lag")


async def test_a_gateway_that_embeds_the_agent_gets_the_same(etcd: EtcdServer) -> None:
    from prometheus_client import CollectorRegistry

    registry, agent = CollectorRegistry(), Agent("gw-1", "10.0.0.1:80", etcd=etcd.endpoint, ttl=2)
    registry.register(AgentMetrics(agent))
    async with agent, agent.election("e").lead():
        assert registry.get_sample_value("clusterd_registered") == 1
        assert registry.get_sample_value("clusterd_election_leader", {"election": "e"}) == 1
        assert registry.get_sample_value("clusterd_topology_age_seconds") == pytest.approx(0, abs=5)
    assert registry.get_sample_value("clusterd_registered") == 0


async def lose_an_event(etcd: EtcdServer, proxy: TcpProxy, agent: Agent, lag: Callable[[], float]) -> str:
    """Have a node join that a watch, dead without a sign, doesn't tell of, until that is known; return its id.

    The call that looks may be lost with the watch: then that is replaced before anybody knows what it lacked.
    """
    names = (f"gw-{number}" for number in itertools.count(2))
    while not lag():
        node = next(names)
        proxy.half_open()
        await etcd.admin.put(f"/nodes/{node}", encode_node(Node(id=node, address="10.0.0.2:80")))
        while not lag() and node not in agent.topology:  # noqa: ASYNC110 - neither has an event
            await asyncio.sleep(0.02)
    return node


async def test_a_watch_that_delivers_nothing_shows_as_lag_until_the_topology_has_caught_up(etcd: EtcdServer) -> None:
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()

    def lag() -> float:
        return registry.get_sample_value("clusterd_topology_lag_seconds") or 0.0

    async with TcpProxy(etcd.endpoint) as proxy:
        agent = Agent("gw-1", "10.0.0.1:80", etcd=proxy.endpoint, ttl=3)
        registry.register(AgentMetrics(agent))
        async with agent:
            assert lag() == 0
            async with asyncio.timeout(60):
                node = await lose_an_event(etcd, proxy, agent, lag)
            proxy.drop()  # so that a new list doesn't come at once
            await eventually(lambda: lag() > 1.5)
            assert node not in agent.topology
            await proxy.heal()
            await eventually(lambda: lag() == 0)
            assert node in agent.topology
