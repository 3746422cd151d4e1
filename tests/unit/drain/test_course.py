"""A drain's state machine: what it does in each case, and what it never does in any."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterd.drain.course import Course, Sight, Terms
from clusterd.drain.intent import OnDeadline
from clusterd.status import Phase

SIGHTS = st.builds(
    Sight,
    sessions=st.none() | st.integers(0, 3),
    cordoned=st.booleans(),
    leading=st.booleans(),
    permitted=st.booleans(),
)
TERMS = st.builds(
    Terms,
    settle=st.sampled_from([0.0, 1.0, 3.0]),
    deadline=st.sampled_from([-5.0, 4.0, 20.0, math.inf]),
    on_deadline=st.sampled_from(OnDeadline),
    stall_after=st.just(5.0),
)
STEPS = st.lists(st.tuples(st.floats(0.01, 3.0), SIGHTS), max_size=40)


def run(course: Course, *sights: tuple[float, Sight]) -> Course:
    for now, sight in sights:
        course.step(now, sight)
    return course


def drain(on_deadline: OnDeadline = OnDeadline.KEEP, deadline: float = math.inf, settle: float = 2.0) -> Course:
    return Course(Terms(settle=settle, deadline=deadline, on_deadline=on_deadline, stall_after=5.0), 0.0)


def test_a_drain_goes_through_its_phases_in_order() -> None:
    course = drain()
    seen = []
    for tenth in range(100):
        now = tenth / 10
        left = 5 if now < 4 else 0
        course.step(now, Sight(left, cordoned=now >= 1))
        if not seen or seen[-1][1] is not course.phase:
            seen.append((now, course.phase))
    assert seen == [(0.0, Phase.CORDONED), (3.0, Phase.DRAINING), (6.0, Phase.DRAINED)]
    assert (course.at_start, course.left, course.moved) == (5, 0, 5)


@given(TERMS, STEPS)
@settings(max_examples=300, deadline=None)
def test_nothing_moves_before_the_node_is_out_of_the_slots_nor_without_a_permit(
    terms: Terms, steps: list[tuple[float, Sight]]
) -> None:
    course, now, cordoned = Course(terms, 0.0), 0.0, False
    for pause, sight in steps:
        now += pause
        course.step(now, sight)
        cordoned = cordoned or sight.cordoned
        if course.may_move:
            assert cordoned
            assert sight.permitted
        if course.phase is Phase.DRAINING:
            assert cordoned


@given(TERMS, STEPS)
@settings(max_examples=300, deadline=None)
def test_a_node_is_drained_only_after_no_session_was_seen_for_the_settle_time(
    terms: Terms, steps: list[tuple[float, Sight]]
) -> None:
    course, now, zero_since = Course(terms, 0.0), 0.0, math.inf
    for pause, sight in steps:
        now += pause
        course.step(now, sight)
        zero_since = min(zero_since, now) if sight.sessions == 0 else math.inf
        if course.phase is Phase.DRAINED:
            assert now - zero_since >= terms.settle


@given(TERMS, STEPS)
@settings(max_examples=200, deadline=None)
def test_an_aborted_drain_stays_aborted_and_only_its_deadline_aborts_it(
    terms: Terms, steps: list[tuple[float, Sight]]
) -> None:
    course, now, aborted = Course(terms, 0.0), 0.0, False
    for pause, sight in steps:
        now += pause
        course.step(now, sight)
        assert course.given_up or not aborted
        aborted = course.given_up
        if aborted:
            assert (terms.on_deadline, now >= terms.deadline) == (OnDeadline.ABORT, True)


def test_a_session_that_comes_late_takes_the_word_back() -> None:
    course = run(drain(settle=0.0), (0, Sight(0)), (1, Sight(0)))
    assert course.phase is Phase.DRAINED
    assert run(course, (2, Sight(1, permitted=False))).phase is Phase.CORDONED
    assert run(course, (3, Sight(1))).phase is Phase.DRAINING


def test_keep_stops_the_moving_and_leaves_who_is_there() -> None:
    course = run(drain(OnDeadline.KEEP, 5.0), (0, Sight(3)), (2, Sight(3)))
    assert course.may_move
    run(course, (5, Sight(2)))
    assert (course.kept, course.may_move, course.phase) == (True, False, Phase.DRAINING)
    run(course, (60, Sight(0)), (62, Sight(0)))
    assert course.phase is Phase.DRAINED


def test_force_goes_on_and_says_so() -> None:
    course = run(drain(OnDeadline.FORCE, 5.0), (0, Sight(3)), (2, Sight(3)), (5, Sight(3)))
    assert (course.forced, course.may_move) == (True, True)


def test_force_waits_for_no_settling_but_for_the_permit() -> None:
    course = run(drain(OnDeadline.FORCE, 5.0, settle=60.0), (0, Sight(3)), (5, Sight(3, permitted=False)))
    assert not course.may_move
    assert run(course, (5.1, Sight(3))).may_move


def test_abort_gives_up_unless_all_are_gone() -> None:
    assert run(drain(OnDeadline.ABORT, 5.0), (0, Sight(3)), (5, Sight(1))).given_up
    done = run(drain(OnDeadline.ABORT, 5.0), (0, Sight(3)), (2, Sight(0)), (5, Sight(0)), (9, Sight(1)))
    assert not done.given_up


def test_a_later_deadline_lets_a_kept_drain_go_on() -> None:
    course = run(drain(OnDeadline.KEEP, 5.0), (0, Sight(3)), (2, Sight(3)), (6, Sight(3)))
    course.terms = Terms(settle=2.0, deadline=60.0)
    assert run(course, (7, Sight(3))).may_move


def test_a_deadline_that_had_passed_at_a_restart_waits_until_sessions_were_looked_at() -> None:
    course = Course(Terms(settle=2.0, deadline=-10.0, on_deadline=OnDeadline.ABORT), 0.0)
    run(course, (0, Sight(None)), (1, Sight(0)), (2, Sight(0)), (3, Sight(0)))
    assert course.phase is Phase.DRAINED


@pytest.mark.parametrize(
    ("sight", "says"),
    [
        (Sight(3, cordoned=False), "etcd does not confirm"),
        (Sight(3, leading=True), "terms of office"),
        (Sight(3, permitted=False, permit_needs="a permit: gw-2"), "a permit: gw-2"),
        (Sight(None), "sessions are not counted"),
        (Sight(3, hindrance="no drain handler"), "no drain handler"),
        (Sight(3, handler="the handler runs since noon"), "the handler runs since noon"),
    ],
)
def test_a_drain_that_stalls_names_what_blocks_it(sight: Sight, says: str) -> None:
    course = drain(settle=0.0)
    for second in range(8):
        course.step(float(second), sight)
    assert course.stalled
    assert says in course.blocked_by


def test_a_drain_that_moves_is_not_stalled() -> None:
    course = drain(settle=0.0)
    for second in range(30):
        course.step(float(second), Sight(100 - second))
        assert not course.stalled
    assert course.rate == pytest.approx(1.0)
    assert run(course, (34.1, Sight(71))).stalled


def test_a_process_that_ends_does_not_wait_for_etcd() -> None:
    course = Course(Terms(settle=0.2, patience=0.5), 0.0)
    run(course, (0.0, Sight(3, cordoned=False)), (0.5, Sight(3, cordoned=False)), (0.8, Sight(3, cordoned=False)))
    assert course.phase is Phase.DRAINING
