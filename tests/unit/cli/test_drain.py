"""The plan of a drain, its flags, and what is told of its course: without etcd."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clusterctl.drain.changing import differences
from clusterctl.drain.command import make_intents
from clusterctl.drain.looks import Look
from clusterctl.drain.plan import check_plan, make_plan
from clusterctl.drain.rendering import facts, outcome_text, plan_document, plan_lines, plan_table, status_table
from clusterctl.drain.terms import Terms, parse_changes, parse_deadline, parse_rate, parse_selection, parse_terms
from clusterctl.drain.tracking import RETURN_SECONDS, Outcome, Tracker, exit_code
from clusterctl.durations import parse_span
from clusterctl.fleet import Entry
from clusterctl.history import Search
from clusterctl.render import tables
from clusterctl.selectors import Selection

from clusterd.drain import Intent, OnDeadline, make_cordon, make_drain
from clusterd.drain.operator import IntentView
from clusterd.errors import Conflict, InvalidNodeId, NothingMatched, UsageError
from clusterd.history import HistoryEntry
from clusterd.node import Node, NodeState
from clusterd.status import DrainProgress, NodeStatus, Phase

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
FLEET = [
    Entry(Node(id="a", zone="z1"), NodeStatus(sessions=5), ("job",)),
    Entry(Node(id="b", zone="z1", weight=300), NodeStatus(sessions=7), ()),
    Entry(Node(id="c", zone="z2"), None, ()),
    Entry(Node(id="d", zone="z3", state=NodeState.CORDONED), None, ()),
    Entry(Node(id="x", foreign=True)),
]
FLAGS: dict[str, Any] = dict.fromkeys(
    ("rate", "over", "settle", "deadline", "on_deadline", "max_unavailable", "min_active")
)


def drain(**terms: Any) -> Intent:
    return make_drain(by="ann@ops", now=NOW, **terms)


def ids(*names: str) -> Selection:
    return Selection(ids=names)


def test_a_plan_says_what_remains() -> None:
    plan = make_plan(FLEET, ids("b", "c"))
    assert plan.ids == ("b", "c")
    assert (len(plan.active_before), [each.node.id for each in plan.active_after]) == (3, ["a"])
    assert (plan.capacity, plan.sessions, plan.emptied_zones) == (0.2, 7, ["z2"])
    assert plan.concerns == ["2 nodes", "no active node would remain in zone z2"]


@pytest.mark.parametrize(
    ("selection", "concerns"),
    [
        (ids("b"), []),
        (ids("d"), []),
        (ids("a"), ["a leads job"]),
        (ids("c"), ["no active node would remain in zone z2"]),
        (Selection(zone="z1"), ["2 nodes", "a leads job", "no active node would remain in zone z1"]),
    ],
)
def test_what_is_to_be_confirmed(selection: Selection, concerns: list[str]) -> None:
    assert make_plan(FLEET, selection).concerns == concerns


def test_everything_is_every_node_that_has_an_agent() -> None:
    plan = make_plan(FLEET, None)
    assert (plan.ids, plan.capacity, plan.others) == (("a", "b", "c", "d"), 0.0, ())
    assert make_plan(FLEET, ids("d")).capacity == 1.0


def test_a_plan_without_nodes_is_none() -> None:
    with pytest.raises(NothingMatched, match="no node nope"):
        make_plan(FLEET, ids("a", "nope"))
    with pytest.raises(NothingMatched, match="none of 5 nodes"):
        make_plan(FLEET, Selection(zone="nope"))
    with pytest.raises(NothingMatched, match="none of 0 nodes"):
        make_plan([], None)
    with pytest.raises(Conflict, match="x is foreign"):
        make_plan(FLEET, ids("a", "x"))


def test_a_node_that_is_down_is_planned_for_only_if_that_is_said() -> None:
    with pytest.raises(NothingMatched, match="One that is down can be asked too, with --offline"):
        make_plan(FLEET, ids("a", "ghost"))
    plan = make_plan(FLEET, ids("ghost", "a"), offline=True)
    assert (plan.ids, plan.absent, plan.concerns[0]) == (("a", "ghost"), ("ghost",), "2 nodes")
    assert tables.aligned(plan_table(plan)).splitlines()[-1].split() == ["2", "ghost", "down", "-", "-", "-"]
    assert plan_lines(plan, Terms())[-1] == "note: ghost is not registered: it is drained when it comes up"
    assert plan_document(plan, Terms())["absent"] == ["ghost"]
    alone = make_plan(FLEET, ids("ghost"), offline=True)
    assert (alone.concerns, alone.capacity) == ([], 1.0)


def test_the_order_of_the_plan_is_that_of_the_intents() -> None:
    intents = make_intents(make_plan(FLEET, ids("c", "a", "b")), {}, Terms(), "")
    assert [(node, intent.order, intent.cohort_size) for node, intent in intents.items()] == [
        ("a", 0, 3),
        ("b", 1, 3),
        ("c", 2, 3),
    ]
    assert len({intent.cohort for intent in intents.values()}) == 1


def test_what_of_a_drain_is_to_change() -> None:
    nothing = FLAGS | {"reason": None}
    given = {"rate": "50/s", "deadline": "1m", "max_unavailable": "none", "settle": "0", "reason": "later"}
    assert parse_changes(nothing | given, NOW) == {
        "rate": 50.0,
        "deadline": (NOW + timedelta(minutes=1)).isoformat(timespec="milliseconds"),
        "max_unavailable": None,
        "settle": 0.0,
        "reason": "later",
    }
    assert parse_changes(nothing | {"deadline": "none", "rate": "none"}, NOW) == {"deadline": None, "rate": None}
    wrong: list[dict[str, str]] = [{}, {"rate": "5", "over": "1m"}, {"deadline": "none", "on_deadline": "keep"}]
    for flags in (*wrong, {"settle": "none"}, {"min_active": "0"}, {"rate": "-5"}):
        with pytest.raises(UsageError):
            parse_changes(nothing | flags, NOW)


def test_a_change_is_told_in_words() -> None:
    before = drain(rate=5.0, max_unavailable="1")
    assert differences(before, before.changed(over=60.0, max_unavailable=None)) == (
        "rate 5 → none, over none → 60, max_unavailable 1 → none"
    )
    assert differences(before, before) == "nothing"


def test_a_guard_that_would_never_let_it_begin_refuses_it() -> None:
    plan = make_plan(FLEET, ids("a"))
    check_plan(plan, {}, {}, Terms(min_active="2"))
    with pytest.raises(Conflict, match="2 active nodes would remain of the 3"):
        check_plan(plan, {}, {}, Terms(min_active="75%"))
    with pytest.raises(Conflict, match="being drained by ann@ops"):
        check_plan(plan, {"a": IntentView("a", drain(), 7)}, {"a": drain()}, Terms())


def test_a_plan_is_shown() -> None:
    plan, terms = make_plan(FLEET, ids("a", "b")), Terms(rate=5.0, deadline=600.0, on_deadline=OnDeadline.FORCE)
    assert tables.aligned(plan_table(plan)).splitlines() == [
        "#  NODE  STATE   ZONE  SESSIONS  LEADS",
        "1  a     active  z1           5  job",
        "2  b     active  z1           7  -",
    ]
    assert plan_lines(plan, terms) == [
        "pace: 5/s; deadline: in 10m, then force",
        "remaining: 1 of 3 active nodes, 20% of the capacity; zones: z2",
        "note: a leads job",
        "note: no active node would remain in zone z1",
    ]
    document = plan_document(plan, terms)
    assert (document["sessions"], document["zones_after"], document["emptied_zones"]) == (12, ["z2"], ["z1"])


@pytest.mark.parametrize(("text", "rate"), [("500/s", 500.0), ("5", 5.0), ("30/m", 0.5), ("1.5/s", 1.5)])
def test_paces(text: str, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e3", "5/d", "0", "0/s", "9999999/s", "\x1b"])
def test_what_is_no_pace(text: str) -> None:
    with pytest.raises(UsageError, match="--rate"):
        parse_rate(text)


def test_deadlines_are_spans_or_moments() -> None:
    assert parse_deadline(None, NOW) is None
    assert parse_deadline("none", NOW) is None
    assert parse_deadline("10m", NOW) == 600.0
    assert parse_deadline((NOW + timedelta(minutes=1)).isoformat(), NOW) == 60.0
    for text in ("-5m", "nan", "0", "", "2030-01-02T03:04:05Z", "2040-01-02T03:04:05", "2029-01-02", "20300102"):
        with pytest.raises(UsageError, match="--deadline"):
            parse_deadline(text, NOW)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("0s", 0.0), ("0.0m", 0.0), ("10s", 10.0)])
def test_settling_may_take_no_time(text: str, seconds: float) -> None:
    assert parse_span(text, "--settle") == seconds


def test_flags_that_contradict_each_other_are_refused() -> None:
    assert parse_terms(FLAGS, NOW) == Terms()
    given = FLAGS | {"over": "2m", "deadline": "5m", "on_deadline": "abort", "max_unavailable": " 25% "}
    assert parse_terms(given, NOW) == Terms(
        over=120.0, deadline=300.0, on_deadline=OnDeadline.ABORT, max_unavailable="25%"
    )
    for wrong in ({"rate": "5", "over": "1m"}, {"on_deadline": "keep"}, {"on_deadline": "force", "deadline": "none"}):
        with pytest.raises(UsageError):
            parse_terms(FLAGS | wrong, NOW)


def test_an_empty_selection_never_means_everything() -> None:
    assert parse_selection((), (), None, everything=True) is None
    assert parse_selection(("a", "a"), (), None, everything=False) == ids("a")
    for given in (((), (), None), (("a",), ("k",), None), (("a",), (), "z"), ((), (), ""), ((), ("",), None)):
        with pytest.raises(UsageError):
            parse_selection(*given, everything=False)
    with pytest.raises(InvalidNodeId):
        parse_selection(("",), (), None, everything=False)
    with pytest.raises(UsageError, match="don't go together"):
        parse_selection(("a",), (), None, everything=True)


def progress(intent: Intent, phase: Phase = Phase.DRAINING, **fields: Any) -> DrainProgress:
    return DrainProgress(intent=intent.id, phase=phase, **{"at_start": 40, "left": 10, "moved": 30, **fields})


def followed(intent: Intent, *looks: dict[str, Any], seconds: float = 1.0) -> Tracker:
    """Return a tracker that took these looks at a node that is there, `seconds` apart."""
    tracker = Tracker("a", intent)
    for number, look in enumerate(looks):
        tracker.note(Look("a", **{"node": Node(id="a"), "intent": intent, **look}), number * seconds)
    return tracker


@pytest.mark.parametrize(
    ("fields", "outcome", "code"),
    [
        ({"phase": Phase.DRAINING}, None, 0),
        ({"phase": Phase.DRAINED, "left": 0}, Outcome.DRAINED, 0),
        ({"phase": Phase.DRAINING, "forced": True}, None, 0),
        ({"phase": Phase.DRAINED, "forced": True, "left": 0}, Outcome.FORCED, 6),
        ({"phase": Phase.DRAINING, "kept": True}, Outcome.KEPT, 6),
        ({"phase": Phase.ABORTED, "aborted": True}, Outcome.ABORTED, 8),
    ],
)
def test_how_a_drain_ends(fields: dict[str, Any], outcome: Outcome | None, code: int) -> None:
    intent = drain()
    tracker = followed(intent, {"progress": progress(intent, **fields)})
    assert (tracker.outcome, exit_code([tracker, Tracker("b", intent)])) == (outcome, code)


def test_a_drain_that_is_taken_back_or_gives_way() -> None:
    intent = drain()
    assert followed(intent, {}, {"intent": None}).outcome is Outcome.WITHDRAWN
    assert followed(intent, {}, {"intent": make_cordon(by="bob", now=NOW)}).outcome is Outcome.WITHDRAWN
    late = make_drain(by="a", now=NOW - timedelta(days=9999), deadline=1.0, on_deadline=OnDeadline.ABORT)
    assert followed(late, {}, {"intent": None}).outcome is Outcome.ABORTED


def test_the_progress_of_another_drain_is_not_this_ones() -> None:
    assert followed(drain(), {"progress": progress(drain(), Phase.DRAINED)}).outcome is None


def test_a_restart_is_no_death() -> None:
    gone, short, long = {"node": None}, RETURN_SECONDS / 2, RETURN_SECONDS + 1
    assert followed(drain(), {}, gone, {}, gone, seconds=short).outcome is None
    assert followed(drain(), {}, gone, gone, seconds=long).outcome is Outcome.DIED
    waiting = followed(drain(), gone, gone, gone, seconds=long)
    assert (waiting.outcome, waiting.blocked_by[:20]) == (None, "the node is not ther")


def test_the_worst_outcome_is_the_exit_code() -> None:
    trackers = [Tracker(name, drain()) for name in "abc"]
    for tracker, outcome in zip(trackers, (Outcome.DRAINED, Outcome.DIED, Outcome.KEPT), strict=True):
        tracker.outcome = outcome
    assert exit_code(trackers) == 8


def test_the_course_in_a_few_words() -> None:
    intent = drain(rate=5.0)
    tracker = followed(intent, {"progress": progress(intent, rate=2.5, stalled=True, blocked_by="evil\x1b")})
    assert facts(tracker) == r"draining, 10 of 40 left, 2.5/s, 4s to go, stalled, evil\x1b"
    assert followed(intent, {"progress": progress(intent)}).seconds_left == 2.0
    assert facts(followed(intent, {})) == "asked for"
    waits = progress(intent, Phase.CORDONED, waits_for_permit=True, blocked_by="a permit: b drains already")
    assert facts(followed(intent, {"progress": waits})).endswith("waits for a permit: b drains already")
    kept = followed(intent, {"progress": progress(intent, kept=True)})
    assert outcome_text(kept).endswith("were kept (30 sessions moved, 10 left)")


def test_drains_and_cordons_in_a_table() -> None:
    intent = drain(reason="kernel")
    cordon = Tracker("b", make_cordon(by="bob", now=NOW))
    rows = tables.aligned(status_table([followed(intent, {"progress": progress(intent)}), cordon])).splitlines()
    assert rows[1].split()[:7] == ["a", "drain", "draining", "10", "30", "0/s", "ann@ops"]
    assert rows[2].split()[:3] == ["b", "cordon", "-"]


def test_searching_the_history() -> None:
    entry = HistoryEntry(at=NOW.isoformat(), what="drain", node="a", by="ann@ops")
    entries = [entry, HistoryEntry(at="?", what="drained", node="b", by="b")]
    assert not Search()
    assert Search().of(entries, 1) == entries[1:]
    assert Search(ids=("a",)).of(entries, 0) == Search(by="ann").of(entries, 0) == [entry]
    assert Search(by="ops").of(entries, 0) == Search(what=("undrain",)).of(entries, 0) == []
    assert Search(since=NOW).of(entries, 0) == [entry]
