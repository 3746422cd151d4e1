"""Histories: what was recorded is read back, whole, in the order of time; what contradicts itself is found."""

from __future__ import annotations

from pathlib import Path

from clusterd import Node, NodeState, Topology
from clusterd.testing import Record, Recorder, disagreements, read_history

NODES = [
    Node(id=f"gw-{number}", address="10.0.0.1:80", zone=f"z{number % 2}", mod_revision=number) for number in (1, 2)
]


def topology(*nodes: Node, revision: int = 7, cluster_id: int = 3) -> Topology:
    return Topology.of(nodes, revision, cluster_id=cluster_id)


def told(*topologies: Topology) -> list[Record]:
    with Recorder() as recorder:
        return [recorder.topology(f"agent-{number}", each) for number, each in enumerate(topologies)]


def test_what_several_processes_recorded_is_read_back_by_time(tmp_path: Path) -> None:
    with Recorder(tmp_path / "a") as one, Recorder(tmp_path / "b") as two:
        written = [one.note("begin", "x", fence=1), two.note("begin", "y", fence=2), one.note("end", "x")]
    assert read_history(tmp_path / "b", tmp_path / "a") == written


def test_a_line_that_a_killed_process_left_half_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with Recorder(path) as recorder:
        written = recorder.note("begin", "x")
    with path.open("ab") as file:
        file.write(b'{"at": 1.5, "kin')
    assert read_history(path) == [written]


def test_a_second_run_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for _ in range(2):
        with Recorder(tmp_path / "a") as recorder:
            recorder.note("started")
    assert len(read_history(tmp_path / "a")) == 2


def test_agents_that_hold_the_same_agree() -> None:
    assert disagreements(told(topology(*NODES), topology(*NODES), topology(NODES[0], revision=8))) == []


def test_other_nodes_at_one_revision_are_found() -> None:
    problems = disagreements(told(topology(*NODES), topology(NODES[0])))
    assert problems == [
        "at revision 7 of cluster 3 the content of agent-0, agent-1 differ",
        "at revision 7 of cluster 3 the routes of agent-0, agent-1 differ",
    ]


def test_another_state_at_one_revision_is_found() -> None:
    cordoned = NODES[1].replace(state=NodeState.CORDONED)
    assert len(disagreements(told(topology(*NODES), topology(NODES[0], cordoned)))) == 2


def test_other_routes_with_the_same_content_are_found() -> None:
    records = told(topology(*NODES), topology(*NODES))
    records[1].facts["routes"] = "other"
    assert disagreements(records) == ["at revision 7 of cluster 3 the routes of agent-0, agent-1 differ"]


def test_the_same_revision_of_another_cluster_is_another_moment() -> None:
    assert disagreements(told(topology(*NODES), topology(NODES[0], cluster_id=4))) == []


def test_nodes_that_nothing_confirms_may_differ() -> None:
    kept = NODES[1].replace(unconfirmed=True)
    assert disagreements(told(topology(NODES[0], kept), topology(NODES[0]))) == []


def test_routes_are_worked_out_only_where_asked_for() -> None:
    with Recorder(routes=lambda _, revision: revision == 8) as recorder:
        assert recorder.topology("a", topology(*NODES, revision=7)).facts["routes"] == ""
        assert recorder.topology("a", topology(*NODES, revision=8)).facts["routes"]
