"""The checkers of fleet histories find what must not happen, and nothing else."""

from __future__ import annotations

from typing import Any

from clusterd.testing import Record
from tests.chaos.fleet.checks import departures, elections, epochs, flashes, growth, killings, problems, serving

ALL = ["gw-1", "gw-2"]


def topology(at: float, who: str, revision: int = 5, **facts: Any) -> Record:
    usual = {"cluster": 7, "revision": revision, "nodes": ALL, "unconfirmed": [], "active": ALL, "stale": False}
    return Record(at, "topology", who, {**usual, "content": f"c{revision}", "routes": f"r{revision}", **facts})


def node(at: float, who: str, revision: int, state: str = "active", *, put: bool = True) -> Record:
    return Record(at, "node", who, {"revision": revision, "put": put, "state": state, "foreign": False})


def intent(at: float, who: str, revision: int, *, put: bool = True) -> Record:
    return Record(at, "intent", who, {"revision": revision, "put": put, "id": "i1" if put else ""})


def cause(who: str, since: float, until: float) -> Record:
    return Record(until, "cause", who, {"since": since, "until": until})


def drained_and_taken_back() -> list[Record]:
    """gw-1 is drained from revision 10 on, obeys at 11, restarts at 14, and is active again at 21."""
    return [
        node(1.0, "gw-1", 3),
        topology(1.1, "gw-2", 5),
        intent(2.0, "gw-1", 10),
        node(2.1, "gw-1", 11, "cordoned"),
        topology(2.2, "gw-2", 11, active=["gw-2"]),
        node(3.0, "gw-1", 13, put=False),
        node(3.5, "gw-1", 14, "cordoned"),
        topology(3.6, "gw-2", 14, active=["gw-2"]),
        intent(4.0, "gw-1", 20, put=False),
        node(4.1, "gw-1", 21),
        topology(4.2, "gw-2", 21),
    ]


def term(node: str, fence: int, begin: float, end: float) -> list[Record]:
    facts = {"election": "e", "fence": fence}
    return [Record(begin, "begin", node, facts), Record(end, "end", node, {**facts, "end": end, "reason": ""})]


def candidate(at: float, lease: str, created: int, *, deleted: int = 0) -> Record:
    facts = {"election": "e", "created": 0 if deleted else created, "revision": deleted or created, "put": not deleted}
    return Record(at, "candidate", lease, facts)


def landed(at: float, fence: int, revision: int, text: str) -> Record:
    return Record(at, "landed", "", {"election": "e", "fence": fence, "revision": revision, "text": text, "put": True})


def two_terms() -> list[Record]:
    return sorted(
        [
            *term("gw-1", 10, 1.0, 2.0),
            *term("gw-2", 12, 3.0, 4.0),
            candidate(0.5, "a", 10),
            candidate(0.6, "b", 12),
            landed(1.5, 10, 15, "10 gw-1 1"),
            candidate(2.0, "a", 10, deleted=16),
            landed(3.5, 12, 18, "12 gw-2 1"),
        ],
        key=lambda record: record.at,
    )


def found(history: list[Record]) -> str:
    return "\n".join(problems(sorted(history, key=lambda record: record.at), slack=2.0))


def test_a_good_history_has_no_problems() -> None:
    assert found(drained_and_taken_back()) == ""
    assert found(two_terms()) == ""


def test_what_the_driver_saw_is_a_problem() -> None:
    assert found([Record(1.0, "violation", "gw-1", {"text": "its intent was lost"})]) == "gw-1: its intent was lost"


def test_agents_that_differ_at_one_revision_are_found() -> None:
    history = [topology(1.0, "gw-1"), topology(1.5, "gw-2", routes="other")]
    assert found(history) == "at revision 5 of cluster 7 the routes of gw-1, gw-2 differ"


def test_an_agent_that_differs_from_etcd_is_found() -> None:
    assert "content of etcd, gw-2 differ" in found([topology(1.0, "etcd"), topology(1.5, "gw-2", content="other")])


def test_a_node_that_leaves_without_a_cause_is_found() -> None:
    history = [topology(1.0, "gw-2"), topology(9.0, "gw-2", 6, nodes=["gw-2"])]
    assert "gw-1 left the topology of gw-2 at 9.000" in found(history)


def test_a_node_that_leaves_with_a_cause_is_not_found() -> None:
    history = [topology(1.0, "gw-2"), topology(9.0, "gw-2", 6, nodes=["gw-2"])]
    assert departures([*history, cause("gw-1", 5.0, 8.0)], slack=2.0) == []
    assert departures([*history, cause("*", 5.0, 9.5)], slack=2.0) == []


def test_a_cause_that_is_long_over_or_yet_to_come_explains_nothing() -> None:
    history = [topology(1.0, "gw-2"), topology(9.0, "gw-2", 6, nodes=["gw-2"])]
    assert departures([*history, cause("gw-1", 5.0, 6.0)], slack=2.0) != []
    assert departures([*history, cause("gw-1", 9.5, 9.9)], slack=2.0) != []
    assert departures([*history, cause("gw-2", 5.0, 8.0)], slack=2.0) != []


def test_a_process_that_did_not_get_to_run_is_a_cause_and_a_short_wait_is_none() -> None:
    history = [topology(1.0, "gw-2"), topology(9.0, "gw-2", 6, nodes=["gw-2"])]
    assert departures([*history, Record(8.0, "lag", "gw-1", {"seconds": 1.5})], slack=2.0) == []
    assert departures([*history, Record(8.0, "lag", "gw-1", {"seconds": 0.6})], slack=2.0) != []


def test_a_node_that_could_not_renew_is_excused_only_on_a_crowded_machine() -> None:
    history = [topology(1.0, "gw-2"), Record(8.0, "session", "gw-1", {"state": "lost"})]
    history.append(topology(9.0, "gw-2", 6, nodes=["gw-2"]))
    assert departures([Record(0.5, "load", "", {"load": 2.0, "cores": 2}), *history], slack=2.0) != []
    assert departures([Record(0.5, "load", "", {"load": 9.0, "cores": 2}), *history], slack=2.0) == []


def test_a_new_instance_may_begin_with_fewer_nodes() -> None:
    history = [topology(1.0, "gw-2"), Record(2.0, "started", "gw-2"), topology(3.0, "gw-2", 6, nodes=["gw-2"])]
    assert departures(history, slack=2.0) == []


def test_a_node_that_flashes_in_under_its_intent_is_found() -> None:
    history = drained_and_taken_back()
    history[6] = node(3.5, "gw-1", 14)
    assert "gw-1 became active at revision 14, under the intent of revision 10" in found(history)


def test_a_node_that_was_active_before_its_intent_has_not_flashed_in() -> None:
    (epoch,) = epochs([node(1.0, "gw-1", 3), intent(2.0, "gw-1", 10)])
    assert list(flashes(epoch)) == []


def test_a_drained_node_in_the_slots_is_found_also_where_it_is_kept_unconfirmed() -> None:
    history = drained_and_taken_back()
    history[7] = topology(3.6, "gw-2", 14, unconfirmed=["gw-1"])
    assert "gw-2 has gw-1 in the slots at revision 14, after its intent took effect" in found(history)


def test_who_never_heard_that_a_node_went_out_of_service_may_keep_it_as_it_was() -> None:
    before, intent_, cordoned, _, gone, *_ = drained_and_taken_back()[1:]
    kept = topology(3.6, "gw-2", 13, unconfirmed=["gw-1"])
    assert found([before, intent_, cordoned, gone, kept]) == ""
    assert "in the slots at revision 13" in found([before, intent_, cordoned, gone, topology(3.6, "gw-2", 13)])


def test_a_node_may_own_slots_until_it_obeys() -> None:
    history = drained_and_taken_back()
    history.insert(3, topology(2.05, "gw-2", 5))
    (epoch,) = epochs(history)
    assert list(serving(epoch)) == []


def test_terms_that_overlap_are_found() -> None:
    history = [record for record in two_terms() if record.kind not in ("begin", "end")]
    assert "overlap by 0.500 s" in found([*history, *term("gw-1", 10, 1.0, 3.5), *term("gw-2", 12, 3.0, 4.0)])


def test_a_term_of_a_killed_process_ends_with_it() -> None:
    history = [record for record in two_terms() if (record.kind, record.who) != ("end", "gw-1")]
    assert "overlap" in found(history)
    assert "overlap" not in found([*history, Record(2.5, "killed", "single-1", {"nodes": ["gw-1"]})])


def test_a_write_after_deposition_is_found() -> None:
    assert "out of office" in found([*two_terms(), landed(2.5, 10, 17, "10 gw-1 2")])


def test_a_fence_that_falls_is_found() -> None:
    assert "the fence fell from 12 to 11" in found([*two_terms(), *term("gw-1", 11, 5.0, 6.0)])


def test_a_confirmed_write_that_is_missing_is_found() -> None:
    facts = {"election": "e", "fence": 10, "text": "10 gw-1 9", "outcome": "landed"}
    assert "was confirmed, and is not there" in found([*two_terms(), Record(1.6, "write", "gw-1", facts)])


def test_memory_that_grows_is_found_and_that_of_a_start_is_not() -> None:
    assert growth([70, 100, 101, 99, 102, 100]) == []
    assert growth([70, 100, 101, 120, 140, 150]) != []
    assert growth([70, 100, 150]) == []


def test_where_etcd_was_rebuilt_revisions_begin_anew() -> None:
    before = [topology(1.0, "etcd"), topology(1.1, "gw-1"), topology(1.2, "gw-2"), *two_terms()]
    shift = [Record(r.at + 20.0, r.kind, r.who, r.facts) for r in (topology(1.0, "etcd", content="n"), *two_terms())]
    rebuilt = [Record(10.0, "rebuilding"), topology(11.0, "gw-1", 5), Record(12.0, "rebuilt")]
    assert found([*before, *rebuilt, *shift]) == ""
    assert "differ" in found([*before, *rebuilt, *shift, topology(40.0, "gw-1")])


def test_a_term_that_a_rebuilt_etcd_cut_short_ends_there() -> None:
    history = [*term("gw-1", 10, 1.0, 30.0), Record(10.0, "rebuilding"), Record(12.0, "rebuilt")]
    history += term("gw-2", 3, 13.0, 14.0)
    history.sort(key=lambda record: record.at)
    before, after = epochs(history)
    assert [(one.begin, one.end) for one in elections(before, killings(history))["e"].terms] == [(1.0, 10.0)]
    assert [(one.begin, one.end) for one in elections(after, killings(history))["e"].terms] == [(13.0, 14.0)]


def test_a_term_that_a_restored_snapshot_lets_go_on_is_of_the_history_before() -> None:
    facts = {"election": "e", "fence": 10, "text": "10 gw-1 9", "outcome": "landed"}
    rebuilt = [Record(10.0, "rebuilding"), Record(11.0, "epoch", "etcd", {"revision": 20}), Record(12.0, "rebuilt")]
    written = Record(13.0, "write", "gw-1", facts)
    assert found([*two_terms(), *rebuilt, written, landed(12.9, 10, 21, "10 gw-1 9")]) == ""
    unsaid = Record(13.5, "write", "gw-1", {**facts, "fence": 22, "text": "22 gw-1 1"})
    assert "was confirmed, and is not there" in found([*two_terms(), *rebuilt, written, unsaid])
