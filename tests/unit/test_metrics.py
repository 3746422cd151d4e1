"""An agent's metrics, as a registry sees them; what they show of a real etcd is tested with one."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry

from clusterd import Agent
from clusterd.etcd.calls import Call
from clusterd.figures import ChangeCount, Figures
from clusterd.metrics import AgentMetrics
from clusterd.node import Node, NodeState
from clusterd.status import DrainProgress, Phase
from clusterd.topology import Change, Topology


class Standing(Agent):
    """An agent that never ran, with the figures that it is given."""

    def __init__(self, figures: Figures | None = None, topology: Topology | None = None) -> None:
        super().__init__("gw-1", "10.0.0.5:8080", zone="az-1")
        self.given = figures or Figures()
        self.shown = topology or Topology.of([])

    def figures(self) -> Figures:
        return self.given

    @property
    def topology(self) -> Topology:
        return self.shown

    def registry(self) -> CollectorRegistry:
        registry = CollectorRegistry()
        registry.register(AgentMetrics(self))
        return registry


def test_an_agent_that_has_not_started_is_not_registered() -> None:
    registry = Standing().registry()
    value = registry.get_sample_value
    assert value("clusterd_node_info", {"node": "gw-1", "zone": "az-1"}) == 1
    assert value("clusterd_registered") == 0
    assert value("clusterd_session_state", {"state": "lost"}) == 1
    assert value("clusterd_sessions") is None
    assert value("clusterd_topology_age_seconds") is None
    assert value("clusterd_drain_phase", {"phase": "draining"}) == 0


def test_nodes_are_counted_by_state_and_foreign_ones_apart() -> None:
    nodes = [
        Node(id="a", address="h:1"),
        Node(id="b", address="h:1", unconfirmed=True),
        Node(id="c", address="h:1", state=NodeState.DRAINING),
        Node(id="d", foreign=True),
    ]
    value = Standing(topology=Topology.of(nodes, 7)).registry().get_sample_value
    counted = {
        state: value("clusterd_topology_nodes", {"state": state})
        for state in ("active", "draining", "foreign", "drained")
    }
    assert counted == {"active": 2, "draining": 1, "foreign": 1, "drained": 0}
    assert value("clusterd_topology_unconfirmed_nodes") == 1
    assert value("clusterd_topology_revision") == 7


def test_an_election_that_was_led_shows_as_not_led() -> None:
    value = Standing(Figures(leading={"a": 9}, terms={"a": 2, "b": 1})).registry().get_sample_value
    assert [value("clusterd_election_leader", {"election": name}) for name in "ab"] == [1, 0]
    assert value("clusterd_election_terms_total", {"election": "a"}) == 2


def test_a_drain_shows_its_phase_its_counts_and_its_deadline() -> None:
    drain = DrainProgress(
        phase=Phase.DRAINING,
        at_start=9,
        left=4,
        moved=5,
        since="1970-01-01T00:00:10+00:00",
        deadline="1970-01-01T00:01:00+00:00",
        blocked_by="a permit",
    )
    value = Standing(Figures(drain=drain)).registry().get_sample_value
    assert value("clusterd_drain_phase", {"phase": "draining"}) == 1
    assert value("clusterd_drain_phase", {"phase": "drained"}) == 0
    counted = [value(f"clusterd_drain_sessions_{name}") for name in ("at_start", "left", "moved")]
    assert counted == [9, 4, 5]
    assert value("clusterd_drain_start_timestamp_seconds") == 10
    assert value("clusterd_drain_deadline_timestamp_seconds") == 60
    assert value("clusterd_drain_blocked") == 1
    assert value("clusterd_drain_stalled") == 0


def test_calls_to_etcd_are_counted_as_they_end() -> None:
    agent = Standing()
    registry = agent.registry()
    for outcome in ("ok", "ok", "unavailable"):
        for observe in agent._observers:
            observe(Call("kv/range", outcome, 0.02))
    value = registry.get_sample_value
    assert value("clusterd_etcd_requests_total", {"method": "kv/range", "outcome": "ok"}) == 2
    assert value("clusterd_etcd_requests_total", {"method": "kv/range", "outcome": "unavailable"}) == 1
    bucket = "clusterd_etcd_request_duration_seconds_bucket"
    assert value(bucket, {"method": "kv/range", "le": "0.01"}) == 0
    assert value(bucket, {"method": "kv/range", "le": "0.025"}) == 3
    assert not [m for metric in registry.collect() for m in metric.samples if m.name.endswith("_created")]


def test_changes_are_counted_by_kind() -> None:
    count = ChangeCount()
    a, b = Node(id="a", address="h:1"), Node(id="b", address="h:1")
    first, second = Topology.of([a], 1), Topology.of([a.replace(weight=7), b], 2)
    count.note(Change.between(first, second))
    count.note(Change.between(second, second.mark(stale_since=1.0)))
    count.note(Change.between(second.mark(stale_since=1.0), second.mark(stale_since=2.0)))
    assert count == {"joined": 1, "left": 0, "updated": 1, "stale": 1}


@pytest.mark.parametrize("module", ["prometheus_client", "opentelemetry"])
def test_importing_clusterd_imports_nothing_that_only_some_need(module: str) -> None:
    code = f"import sys, clusterd, clusterctl.main; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
