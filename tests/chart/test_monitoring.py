"""Alerts and dashboard speak PromQL, of metrics that the daemon has."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from clusterd.testing import AgentProcess, EtcdServer
from tests.chart.rendering import CHART, merged, render, the

ALERTS: list[dict[str, Any]] = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
DASHBOARD: dict[str, Any] = json.loads((CHART / "files" / "dashboard.json").read_text())
GRAFANAS = {"$__rate_interval": "5m", "$namespace": "ns", "$job": "job"}
"""What Grafana puts in place of its variables."""
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
"""What the names of a metric's series end with, by its type."""


def expressions() -> dict[str, str]:
    """Every expression, by where it stands."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in ALERTS}
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in GRAFANAS.items():
                text = text.replace(name, value)
            found[f"panel {panel['title']} {target['refId']}"] = text
    return found


def metrics_of(expression: str) -> set[tuple[str, frozenset[str]]]:
    """Return the metrics that an expression selects, each with the labels that it selects them by."""
    found: set[tuple[str, frozenset[str]]] = set()

    def look(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add((node.name, frozenset(re.findall(r'(\w+)[=!]~?"', node.prettify()))))
        for name in ("expr", "lhs", "rhs", "vector_selector", "vs", "args", "param"):
            below = getattr(node, name, None)
            for each in below if isinstance(below, list) else [below] if below is not None else []:
                look(each)

    look(promql_parser.parse(expression))
    return found


@pytest.fixture(scope="module")
def served() -> dict[str, set[str]]:
    """The metrics of a daemon, with the labels of their samples."""
    text = asyncio.run(scrape())
    return {
        f"{family.name}{suffix}": {name for sample in family.samples for name in sample.labels}
        for family in text_string_to_metric_families(text)
        for suffix in SUFFIXES.get(family.type, ("",))
    }


async def scrape() -> str:
    """Return what a real daemon says at `/metrics`."""
    async with EtcdServer() as etcd:
        arguments = [
            "--node=gw-1",
            "--address=10.0.0.1:80",
            f"--etcd={etcd.endpoint}",
            "--drain-hook=http://127.0.0.1:1",
        ]
        async with AgentProcess(*arguments, "--probes=127.0.0.1:0", "--control=off") as daemon:
            url = (await daemon.wait_for_line("^probes (http.*)"))[1]
            await daemon.wait_for_line("is registered")
            async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
                return await answer.text()


@pytest.mark.parametrize(("where", "expression"), expressions().items(), ids=expressions().keys())
def test_an_expression_asks_for_metrics_that_the_daemon_has(
    served: dict[str, set[str]], where: str, expression: str
) -> None:
    asked = metrics_of(expression)
    assert asked
    for name, _ in asked:
        assert name in served, f"{where} asks for {name}"


def test_the_labels_that_are_selected_by_are_those_of_the_metrics(served: dict[str, set[str]]) -> None:
    scraped = {"namespace", "job", "pod"}  # what Prometheus adds
    for where, expression in expressions().items():
        for name, labels in metrics_of(expression):
            if own := served[name]:
                assert labels - scraped <= own, where


def test_every_alert_says_what_is_the_matter_and_how_bad_it_is() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_objects_hold_what_the_files_say() -> None:
    extra = [{"alert": "Mine", "expr": "up == 0"}]
    monitoring = {"prometheusRule": {"enabled": True, "extraRules": extra}, "dashboard": {"enabled": True}}
    manifests = render(merged({"monitoring": monitoring}))
    assert the("PrometheusRule", manifests)["spec"]["groups"][0]["rules"] == [*ALERTS, *extra]
    assert json.loads(the("ConfigMap", manifests)["data"]["clusterd.json"]) == DASHBOARD


def test_no_two_panels_of_the_dashboard_overlap() -> None:
    places = [
        (x, y)
        for position in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(position["x"], position["x"] + position["w"])
        for y in range(position["y"], position["y"] + position["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
