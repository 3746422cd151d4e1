"""What followers of the fleet are told: from wherever they come, folding it gives what the topology is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterd.node import Node
from clusterd.sidecar.http import journal as module
from clusterd.sidecar.http.journal import Behind, Journal
from clusterd.topology import Change, Topology

IDS = ("gw-1", "gw-2", "gw-3")


def topology_of(nodes: dict[str, int], revision: int, *, stale: bool = False, cluster: int = 1) -> Topology:
    records = [Node(id=name, address="h:1", weight=weight, mod_revision=revision) for name, weight in nodes.items()]
    topology = Topology.of(records, revision, cluster_id=cluster)
    return topology.mark(stale_since=1.0) if stale else topology


def events_in(data: bytes) -> list[tuple[str, str, Any]]:
    found = []
    for block in data.decode().split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines())
        if fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


class Reader:
    """Folds what it is told, and comes back with the id of what it read last."""

    def __init__(self) -> None:
        self.weights: dict[str, int] = {}
        self.stale = False
        self.last = ""

    def take(self, data: bytes) -> None:
        for name, number, document in events_in(data):
            self.stale, self.last = document["stale"], number
            if name == "snapshot":
                self.weights = {node["id"]: node["weight"] for node in document["nodes"]}
                continue
            self.weights |= {node["id"]: node["weight"] for node in [*document["joined"], *document["updated"]]}
            for gone in document["left"]:
                del self.weights[gone]

    def catch_up(self, journal: Journal) -> None:
        """Go on from what was read last, or start over where that isn't known."""
        try:
            place = journal.place_of(self.last)
        except Behind:
            place = journal.place
            self.take(journal.snapshot())
        while True:
            try:
                data, place = journal.read(place)
            except Behind:
                place = journal.place
                data = journal.snapshot()
            if not data:
                return
            self.take(data)


STEP = st.tuples(
    st.dictionaries(st.sampled_from(IDS), st.integers(1, 3)),
    st.integers(0, 2),  # how much the revision rises; none where only the freshness changes, or what is kept is dropped
    st.booleans(),
    st.lists(st.integers(0, 2), max_size=2),  # which readers look
)


@given(st.lists(STEP, max_size=30))
@settings(max_examples=200)
def test_whoever_comes_back_whenever_has_what_there_is(steps: Any) -> None:
    journal, readers = Journal(), [Reader() for _ in range(3)]
    journal.begin(topology_of({}, 1))
    revision = 1
    for nodes, rise, stale, looking in steps:
        before = journal.topology
        same = {node.id: node.weight for node in before} == nodes
        revision += rise if same else max(rise, 1)
        change = Change.between(before, topology_of(nodes, revision, stale=stale))
        if change:
            journal.add(change)
        for number in looking:
            readers[number].catch_up(journal)
            assert readers[number].weights == {node.id: node.weight for node in journal.topology}
            assert readers[number].stale == journal.topology.stale


def test_a_version_is_the_revision_unless_the_content_is_not_etcd_s() -> None:
    journal = Journal()
    journal.begin(topology_of({"gw-1": 1}, 7))
    assert journal.version == "7"
    journal.add(Change.between(journal.topology, topology_of({"gw-1": 1}, 7, stale=True)))
    stale = journal.version
    assert stale.startswith("7-")
    journal.add(Change.between(journal.topology, topology_of({"gw-1": 1}, 7)))
    assert journal.version == "7"
    journal.add(Change.between(journal.topology, topology_of({"gw-1": 1}, 7, stale=True)))
    assert journal.version not in ("7", stale)


def test_who_has_the_present_version_gets_nothing() -> None:
    journal = Journal()
    journal.begin(topology_of({"gw-1": 1}, 7))
    assert journal.read(journal.place_of("7")) == (b"", 0)
    journal.look(Topology(journal.topology.nodes, 9, cluster_id=1))
    assert journal.read(journal.place_of("9"))[0] == b""
    assert journal.read(journal.place_of("7"))[0] == b""


def test_what_is_forgotten_is_not_gone_on_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHANGES", 10)
    journal = Journal()
    journal.begin(topology_of({"gw-1": 1}, 1))
    for revision in range(2, 30):
        journal.add(Change.between(journal.topology, topology_of({"gw-1": revision}, revision)))
    with pytest.raises(Behind):
        journal.place_of("5")
    with pytest.raises(Behind):
        journal.read(3)
    (data, place) = journal.read(journal.place_of("25"))
    assert [number for _, number, _ in events_in(data)] == ["26", "27", "28", "29"]
    assert journal.read(place) == (b"", place)
    assert len(journal._places) <= 41


def test_it_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 5000)
    journal = Journal()
    journal.begin(topology_of({}, 1))
    for revision in range(2, 200):
        journal.add(Change.between(journal.topology, topology_of({"gw-1": revision}, revision)))
    assert sum(map(len, journal._events)) == journal._bytes <= 5000


@pytest.mark.parametrize(("cluster", "revision"), [(2, 100), (1, 3)])
def test_when_etcd_was_rebuilt_nothing_from_before_is_gone_on_from(cluster: int, revision: int) -> None:
    journal = Journal()
    journal.begin(topology_of({"gw-1": 1}, 7))
    place = journal.place
    journal.add(Change.between(journal.topology, topology_of({"gw-1": 2}, revision, cluster=cluster)))
    with pytest.raises(Behind):
        journal.read(place)
    for version in ("7", str(revision)):
        with pytest.raises(Behind):
            journal.place_of(version)
    assert journal.version != str(revision)
    assert journal.read(journal.place_of(journal.version))[0] == b""
