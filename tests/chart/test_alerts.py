"""Alerts and dashboard, evaluated by Prometheus's own promtool over what a real daemon serves."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from clusterd.testing import AgentProcess, EtcdServer, eventually
from tests.chart.rendering import merged, render, the
from tests.chart.test_monitoring import ALERTS, expressions
from tests.conftest import missing

EVERY = "15s"
AT = "30m"
SCRAPES = 120
PODS = ("a", "b")
CONSTANT = f"x{SCRAPES}"
RISES, NEVER, ONE = f"0+1{CONSTANT}", f"0{CONSTANT}", f"1{CONSTANT}"
WELL = {
    "clusterd_drain_stalled": NEVER,
    'clusterd_topology_nodes{state="active"}': ONE,
    'clusterd_topology_nodes{state="cordoned"}': NEVER,
    'clusterd_topology_nodes{state="draining"}': NEVER,
}
"""What is otherwise of a fleet that is well than of a daemon that drains."""


@dataclass(frozen=True, slots=True)
class Case:
    """What makes an alert fire: series as they are on so many pods; `others` fire then too."""

    alert: str
    overrides: Mapping[str, str]
    pods: int = 1
    others: Mapping[str, int] = field(default_factory=dict)


CASES = (
    Case("ClusterdNodeNotRegistered", {"clusterd_registered": NEVER}),
    Case("ClusterdTopologyStale", {"clusterd_topology_stale": ONE}),
    Case("ClusterdTopologyStaleEverywhere", {"clusterd_topology_stale": ONE}, 2, {"ClusterdTopologyStale": 2}),
    Case("ClusterdTopologyLags", {"clusterd_topology_lag_seconds": f"31{CONSTANT}"}),
    Case("ClusterdRegistrationFlaps", {"clusterd_session_losses_total": f"0+0.1{CONSTANT}"}),
    Case("ClusterdEtcdUnavailable", {'clusterd_etcd_requests_total{method="kv/range",outcome="unavailable"}': RISES}),
    Case("ClusterdEtcdRefuses", {'clusterd_etcd_requests_total{method="kv/range",outcome="refused"}': RISES}),
    Case("ClusterdHookFails", {'clusterd_hook_requests_total{hook="drain",outcome="failed"}': RISES}),
    Case(
        "ClusterdEventLoopLags",
        {
            "clusterd_event_loop_lag_seconds_count": f"0+15{CONSTANT}",
            'clusterd_event_loop_lag_seconds_bucket{le="1.0"}': f"0+14{CONSTANT}",
        },
    ),
    Case("ClusterdDrainStalled", {"clusterd_drain_stalled": ONE}),
    Case("ClusterdDrainForced", {"clusterd_drain_forced": ONE}),
    Case(
        "ClusterdFewActiveNodes",
        {
            'clusterd_topology_nodes{state="active"}': f"2{CONSTANT}",
            'clusterd_topology_nodes{state="cordoned"}': f"3{CONSTANT}",
        },
        2,
    ),
)


@pytest.fixture(scope="module")
def promtool() -> str:
    """Where promtool is (in Debian it comes with prometheus)."""
    found = shutil.which("promtool")
    if found is None:
        missing("this machine has no promtool")
    assert found
    return found


@pytest.fixture(scope="module")
def quiet() -> list[Sample]:
    """What a daemon serves that nothing is the matter with."""

    async def scrape() -> str:
        async with daemon() as (http, _, probes):
            return await metrics(http, probes)

    return samples(asyncio.run(scrape()))


@pytest.fixture(scope="module")
def busy() -> list[Sample]:
    """What a daemon serves that leads an election, and what more when it drains, by a hook that fails."""

    async def scrape() -> tuple[str, str]:
        async with daemon() as (http, control, probes), http.post(f"{control}/v1/leader/job") as leading:
            assert leading.status == 200

            async def leads() -> bool:
                return 'clusterd_election_leader{election="job"} 1.0' in await metrics(http, probes)

            await eventually(leads)
            async with http.put(f"{control}/v1/self/stats", json={"sessions": 5}) as told:
                assert told.status < 300
            led = await metrics(http, probes)
            async with http.post(f"{control}/v1/self/drain", json={"settle": 0}) as asked:
                assert asked.status == 202

            async def failed() -> str:
                text = await metrics(http, probes)
                return text if 'outcome="failed"' in text else ""

            return led, await eventually(failed)

    led, drains = map(samples, asyncio.run(scrape()))
    known = {named(sample) for sample in led}
    return led + [sample for sample in drains if named(sample) not in known]


@asynccontextmanager
async def daemon() -> AsyncIterator[tuple[aiohttp.ClientSession, str, str]]:
    """A real daemon, and where its control and its probes are."""
    listen = ("--probes=127.0.0.1:0", "--control=127.0.0.1:0", "--drain-hook=http://127.0.0.1:1")
    async with EtcdServer() as etcd:
        arguments = ("--node=gw-1", "--address=10.0.0.1:80", f"--etcd={etcd.endpoint}", *listen)
        async with AgentProcess(*arguments) as process, aiohttp.ClientSession() as http:
            control = (await process.wait_for_line("^control (http.*)"))[1].rstrip("/")
            probes = (await process.wait_for_line("^probes (http.*)"))[1].rstrip("/")
            await process.wait_for_line("is registered")
            yield http, control, probes


async def metrics(http: aiohttp.ClientSession, probes: str) -> str:
    async with http.get(f"{probes}/metrics") as answer:
        return await answer.text()


def samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def series(served: list[Sample], *overrides: tuple[int, Mapping[str, str]]) -> list[dict[str, str]]:
    """Return a fleet of two pods that serve that for half an hour; counters and histograms stand still.

    Overrides are for the first so many pods, of series that are served, or of others of their metrics.
    """
    found = {f"{named(sample)}@{pod}": f"{sample.value:g}{CONSTANT}" for sample in served for pod in PODS}
    names = {sample.name for sample in served}
    for pods, values in overrides:
        assert {name.partition("{")[0] for name in values} <= names, f"no daemon serves one of {[*values]}"
        found |= {f"{name}@{pod}": value for name, value in values.items() for pod in PODS[:pods]}
    return [{"series": scraped(*name.rsplit("@", 1)), "values": values} for name, values in found.items()]


def named(sample: Sample) -> str:
    labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}}" if labels else sample.name


def scraped(name: str, pod: str) -> str:
    """Return a series with the labels that Prometheus adds."""
    metric, _, labels = name.rstrip("}").partition("{")
    return f'{metric}{{{labels}{"," * bool(labels)}namespace="ns",job="job",pod="{pod}"}}'


def run(promtool: str, directory: Path, *tests: dict[str, Any]) -> None:
    """Have promtool check these tests of the rules that the chart installs."""
    monitoring = {"prometheusRule": {"enabled": True}}
    rules = the("PrometheusRule", render(merged({"monitoring": monitoring})))["spec"]
    (directory / "rules.yaml").write_text(yaml.safe_dump(rules))
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": EVERY, "tests": list(tests)}
    (directory / "tests.yaml").write_text(yaml.safe_dump(document))
    for command in (("check", "rules", "rules.yaml"), ("test", "rules", "tests.yaml")):
        ended = subprocess.run((promtool, *command), cwd=directory, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def expecting(name: str, given: list[dict[str, str]], fires: Mapping[str, int]) -> dict[str, Any]:
    """Return a test that so many of these alerts fire, and no others."""
    expected = [{"labels": f'{{alertname="{alert}"}}', "value": count} for alert, count in fires.items()]
    firing = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": AT,
        "exp_samples": expected,
    }
    return {"name": name, "interval": EVERY, "input_series": given, "promql_expr_test": [firing]}


def test_every_alert_has_its_case() -> None:
    assert {case.alert for case in CASES} == {rule["alert"] for rule in ALERTS}


def test_no_alert_fires_of_a_fleet_that_is_well(promtool: str, quiet: list[Sample], tmp_path: Path) -> None:
    run(promtool, tmp_path, expecting("well", series(quiet), {}))


def test_each_alert_fires_of_what_it_is_for(promtool: str, busy: list[Sample], tmp_path: Path) -> None:
    tests = [
        expecting(case.alert, series(busy, (2, WELL), (case.pods, case.overrides)), {case.alert: 1, **case.others})
        for case in CASES
    ]
    run(promtool, tmp_path, *tests)


def test_each_panel_shows_something(promtool: str, busy: list[Sample], tmp_path: Path) -> None:
    shown = {"eval_time": AT, "exp_samples": [{"labels": "{}", "value": 1}]}
    panels = {where: expression for where, expression in expressions().items() if where.startswith("panel")}
    checks = [{"expr": f"count({expression}) > bool 0", **shown} for expression in panels.values()]
    given = {"name": "panels", "interval": EVERY, "input_series": series(busy), "promql_expr_test": checks}
    run(promtool, tmp_path, given)
