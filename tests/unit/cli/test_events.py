"""A change of the topology as events, and those as lines and objects."""

from __future__ import annotations

from datetime import UTC, datetime

from clusterctl.events import Event, as_document, as_text, events, snapshot

from clusterd.node import Node, NodeState
from clusterd.topology import Change, Topology

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
A = Node(id="a", address="h:1", zone="z", labels={"k": "v"}, mod_revision=1)
B = Node(id="b", address="h:2", mod_revision=2)


def happened(before: list[Node], after: list[Node], revision: int = 9) -> list[Event]:
    return list(events(Change.between(Topology.of(before, revision - 1), Topology.of(after, revision))))


def line(event: Event) -> str:
    return as_text(event, NOW)


def test_a_snapshot_names_all_nodes() -> None:
    event = snapshot(Topology.of([A, B], 5))
    assert line(event) == "2030-01-02T03:04:05.000Z       5  snapshot     2 nodes, a, b"
    assert [node["id"] for node in as_document(event, NOW)["nodes"]] == ["a", "b"]


def test_joined_and_left() -> None:
    joined, left = happened([B], [A])
    assert line(joined) == "2030-01-02T03:04:05.000Z       9  joined       a  active, h:1, zone z, k=v"
    assert line(left) == "2030-01-02T03:04:05.000Z       9  left         b"
    assert as_document(left, NOW)["record"]["address"] == "h:2"


def test_an_update_says_what_changed_from_what_to_what() -> None:
    after = A.replace(state=NodeState.CORDONED, labels={}, zone="", mod_revision=9)
    (event,) = happened([A], [after])
    assert line(event).endswith("updated      a  state active → cordoned, zone z → none, labels {k=v} → {}")
    assert as_document(event, NOW)["changes"] == {
        "state": {"before": "active", "after": "cordoned"},
        "zone": {"before": "z", "after": ""},
        "labels": {"before": {"k": "v"}, "after": {}},
    }


def test_a_rewritten_record_is_no_change_of_a_field() -> None:
    (event,) = happened([A], [A.replace(mod_revision=9)])
    assert line(event).endswith("updated      a  written again, unchanged")
    assert "changes" not in as_document(event, NOW)


def test_nodes_that_etcd_may_have_lost_by_itself() -> None:
    kept = A.replace(unconfirmed=True)
    assert [event.kind for event in happened([A], [kept])] == ["unconfirmed"]
    (back,) = happened([kept], [A.replace(lease=5)])
    assert line(back).endswith("confirmed    a  lease none → 5")


def test_stale_and_fresh() -> None:
    fresh = Topology.of([A], 5)
    stale = fresh.mark(stale_since=1.0)
    assert [event.kind for event in events(Change.between(fresh, stale))] == ["stale"]
    (event,) = events(Change.between(stale, fresh))
    assert as_document(event, NOW) == {"time": "2030-01-02T03:04:05.000Z", "revision": 5, "event": "fresh"}


def test_a_hostile_record_is_escaped() -> None:
    (event,) = happened([], [Node(id="x\x1b[2J", zone="\n\u202e")])
    assert line(event).isprintable()
