"""Streams wait until their old keeper has handed them over, and no longer."""

from __future__ import annotations

import pytest

from clusterd import Node, Topology
from examples.gateway.gate import Gate

STREAMS = [f"user:u{number}" for number in range(50)]


def fleet_of(*nodes: str, revision: int) -> Topology:
    return Topology.of([Node(id=node, address="10.0.0.1:80") for node in nodes], revision)


@pytest.fixture
def gate() -> Gate:
    return Gate("gw-1", shared=False)


def test_what_another_kept_waits_for_its_word(gate: Gate) -> None:
    before = fleet_of("gw-1", "gw-2", "gw-3", revision=10)
    gate.change(before, fleet_of("gw-1", "gw-2", revision=12))
    held = {stream for stream in STREAMS if gate.holds(stream)}
    assert held == {stream for stream in STREAMS if before.owner(stream) == before.nodes["gw-2"]}
    gate.cleared("gw-2", 11)
    assert not gate.open
    gate.cleared("gw-2", 12)
    assert gate.open


def test_a_newcomer_waits_for_those_who_have_seen_it_whatever_revision_it_listed_at(gate: Gate) -> None:
    before, now = fleet_of("gw-2", revision=30), fleet_of("gw-1", "gw-2", revision=30)
    gate.change(before, now, 25)
    assert all(map(gate.holds, STREAMS))
    gate.cleared("gw-2", 24)
    assert not gate.open
    gate.cleared("gw-2", 25)
    assert gate.open


def test_nothing_of_a_shared_log_waits() -> None:
    gate = Gate("gw-1", shared=True)
    gate.change(fleet_of("gw-2", revision=10), fleet_of("gw-1", "gw-2", revision=12))
    assert gate.open
