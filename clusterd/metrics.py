"""An agent's metrics for Prometheus: what the sidecar serves at `/metrics`, and an embedding gateway can serve too.

    from prometheus_client import REGISTRY
    from clusterd.metrics import AgentMetrics

    agent = clusterd.Agent("gw-1", "10.0.0.5:8080")
    REGISTRY.register(AgentMetrics(agent))

The names are listed in docs/operations.md. Values are read when they are asked for; only calls to etcd are counted as
they happen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import Any

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from clusterd.agent import Agent
from clusterd.etcd.calls import Call
from clusterd.figures import Figures
from clusterd.node import NodeState
from clusterd.session import SessionState
from clusterd.status import DrainProgress, Phase
from clusterd.topology import Topology
from clusterd.version import __version__

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of the buckets of durations."""

_FOREIGN = "foreign"


class AgentMetrics(Collector):
    """The metrics of one agent; register it before the agent is entered, or the first calls to etcd go uncounted."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._seconds = Histogram(
            "clusterd_etcd_request_duration_seconds",
            "Time that calls to etcd took, over all endpoints and attempts",
            ["method"],
            buckets=SECONDS,
            registry=None,
        )
        agent.on_etcd_call(self._note)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now."""
        agent = self._agent
        figures, topology = agent.figures(), agent.topology
        yield from _of_node(agent)
        yield from _of_topology(topology, figures)
        yield from _of_freshness(topology, figures)
        yield from _of_elections(figures)
        yield from _of_drain(figures.drain)
        yield counter(
            "clusterd_etcd_requests",
            "Calls to etcd by what they came to",
            ["method", "outcome"],
            self._outcomes,
        )
        yield counter(
            "clusterd_etcd_endpoint_failures",
            "Attempts that an endpoint of etcd did not answer",
            ["endpoint"],
            {(endpoint,): count for endpoint, count in figures.endpoint_failures.items()},
        )
        yield from without_created(self._seconds)

    def _note(self, call: Call) -> None:
        self._outcomes[call.method, call.outcome] += 1
        self._seconds.labels(call.method).observe(call.seconds)


def gauge(name: str, what: str, value: float | None) -> GaugeMetricFamily:
    """Return a gauge without labels, and without a sample where there is no value."""
    family = GaugeMetricFamily(name, what)
    if value is not None:
        family.add_metric([], value)
    return family


def gauges(name: str, what: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    """Return a gauge with one label, and a sample for each of its values."""
    family = GaugeMetricFamily(name, what, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def counter(name: str, what: str, labels: Iterable[str], counts: Mapping[Any, float]) -> Metric:
    """Return a counter with these labels; `counts` is by tuples of their values. Its samples end in `_total`."""
    family = CounterMetricFamily(name, what, labels=list(labels))
    for values, count in counts.items():
        family.add_metric(list(values), count)
    return family


def without_created(collector: Histogram) -> Iterator[Metric]:
    """Yield a collector's metrics without the times of their creation, which double the series and help nobody."""
    for metric in collector.collect():
        metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
        yield metric


def _one_of(present: str | None, all_values: Iterable[str]) -> dict[str, float]:
    return {value: float(value == present) for value in all_values}


def _of_node(agent: Agent) -> Iterator[Metric]:
    node, session = agent.node, agent.session
    state = session.state
    yield gauges("clusterd_build_info", "The version of clusterd", "version", {__version__: 1})
    info = GaugeMetricFamily("clusterd_node_info", "The node that these metrics are of", labels=["node", "zone"])
    info.add_metric([node.id, node.zone], 1)
    yield info
    registered = state is not SessionState.LOST
    yield gauge("clusterd_registered", "Whether the fleet certainly counts this node in", float(registered))
    yield gauge("clusterd_ready", "Whether new sessions should come here", float(agent.ready))
    yield gauges("clusterd_session_state", "The session with etcd", "state", _one_of(state, SessionState))
    yield gauges(
        "clusterd_node_state", "The state that this node shows the fleet", "state", _one_of(node.state, NodeState)
    )
    yield counter("clusterd_session_losses", "How often the registration was lost", (), {(): session.losses})
    yield gauge("clusterd_lease_remaining_seconds", "Time left unless the lease is renewed", session.remaining)
    yield gauge("clusterd_sessions", "Sessions on this node; absent where nobody counts them", agent.sessions.count)


def _of_topology(topology: Topology, figures: Figures) -> Iterator[Metric]:
    nodes = Counter(_FOREIGN if node.foreign else node.state.value for node in topology)
    by_state = {state: float(nodes[state]) for state in chain(NodeState, [_FOREIGN])}
    unconfirmed = sum(node.unconfirmed for node in topology)
    yield gauges("clusterd_topology_nodes", "Nodes of the fleet by state", "state", by_state)
    yield gauge("clusterd_topology_unconfirmed_nodes", "Nodes kept though etcd may have lost them", unconfirmed)
    yield counter(
        "clusterd_topology_changes",
        "Nodes that joined, left or were updated, and how often the topology became stale",
        ["kind"],
        {(kind,): count for kind, count in figures.changes.items()},
    )


def _of_freshness(topology: Topology, figures: Figures) -> Iterator[Metric]:
    yield gauge("clusterd_topology_revision", "The revision of etcd of the last change", topology.revision)
    yield gauge("clusterd_topology_synced_revision", "The revision of etcd known to be in", figures.synced_revision)
    yield gauge("clusterd_topology_stale", "Whether etcd can't confirm the topology", float(topology.stale))
    yield gauge("clusterd_topology_age_seconds", "Time since the topology was known to be etcd's", figures.age)
    yield gauge("clusterd_topology_lag_seconds", "Time for which it is known to be behind etcd", figures.lag)


def _of_elections(figures: Figures) -> Iterator[Metric]:
    leading = {name: float(name in figures.leading) for name in figures.terms}
    terms = {(name,): count for name, count in figures.terms.items()}
    yield gauges("clusterd_election_leader", "Whether this node leads the election", "election", leading)
    yield counter("clusterd_election_terms", "Terms of office that this node began", ["election"], terms)


def _of_drain(drain: DrainProgress | None) -> Iterator[Metric]:
    phase = drain.phase if drain else None
    yield gauges("clusterd_drain_phase", "How far the drain is; all 0 without one", "phase", _one_of(phase, Phase))
    for name, (what, value) in (_facts(drain or DrainProgress()) | _numbers(drain)).items():
        yield gauge(f"clusterd_drain_{name}", what, value)


def _facts(drain: DrainProgress) -> dict[str, tuple[str, float | None]]:
    return {
        "stalled": ("Whether no session has moved for long", float(drain.stalled)),
        "blocked": ("Whether something is in the drain's way", float(bool(drain.blocked_by))),
        "waits_for_permit": ("Whether the drain waits for other nodes", float(drain.waits_for_permit)),
        "forced": ("Whether sessions were asked to go at once, at the deadline", float(drain.forced)),
    }


def _numbers(drain: DrainProgress | None) -> dict[str, tuple[str, float | None]]:
    given = drain or DrainProgress()
    return {
        "sessions_at_start": ("Sessions when the drain began", given.at_start),
        "sessions_left": ("Sessions that are still there", given.left),
        "sessions_moved": ("Sessions that have gone since the drain began", given.moved if drain else None),
        "start_timestamp_seconds": ("When the drain began", _timestamp(given.since)),
        "deadline_timestamp_seconds": ("The drain's deadline", _timestamp(given.deadline)),
    }


def _timestamp(moment: str | None) -> float | None:
    """Return an RFC 3339 moment in seconds since 1970."""
    return datetime.fromisoformat(moment).timestamp() if moment else None
