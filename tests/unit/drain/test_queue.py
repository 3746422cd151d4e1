"""Who may drain, and who waits for whom."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from clusterd.drain.queue import (
    HALF_PLACED,
    Permit,
    Place,
    cohort_needs,
    decode_permit,
    encode_permit,
    order_needs,
    permit_needs,
)
from clusterd.node import Node, NodeState

FLEET = [Node(id=f"gw-{number}", address="h:1") for number in range(8)]


def place(since: int, most: str | None = None, node: str | None = None, **fields: Any) -> Place:
    return Place(since, Permit(node=node or f"gw-{since}", max_unavailable=most, **fields))


def waiting(since: int, most: str | None = None, **fields: Any) -> Place:
    return place(since, most, granted=False, **fields)


def test_without_limits_nobody_waits() -> None:
    assert permit_needs(Permit(node="gw-0"), 9, [place(1), place(2)], FLEET) == ""


def test_one_waits_for_who_came_before_and_names_them() -> None:
    own = Permit(node="gw-0", max_unavailable="1")
    assert "gw-1 drains already" in permit_needs(own, 9, [place(1), place(9, node="gw-0"), waiting(10)], FLEET)
    assert "gw-10 drains already" in permit_needs(own, 9, [place(10)], FLEET)
    assert permit_needs(own, 9, [waiting(1)], FLEET) == "a permit: gw-1 first"
    assert permit_needs(own, 9, [waiting(10)], FLEET) == ""


def test_the_smallest_limit_of_all_ahead_counts() -> None:
    loose = Permit(node="gw-0", max_unavailable="5")
    assert permit_needs(loose, 9, [place(1, "1")], FLEET)
    assert not permit_needs(loose, 9, [place(1, "2")], FLEET)
    assert not permit_needs(loose, 9, [place(1), waiting(10, "1")], FLEET)
    assert permit_needs(loose, 9, [place(10, "1")], FLEET)


def test_a_share_is_of_the_fleet() -> None:
    own = Permit(node="gw-0", max_unavailable="25%")
    assert not permit_needs(own, 9, [place(1)], FLEET)
    assert permit_needs(own, 9, [place(1), place(2)], FLEET)


def test_the_permit_of_ones_own_dead_instance_and_bytes_of_others() -> None:
    own = Permit(node="gw-0", max_unavailable="1")
    assert not permit_needs(own, 9, [place(1, node="gw-0")], FLEET)
    assert "somebody drains" in permit_needs(own, 9, [Place(1, None)], FLEET)
    assert not permit_needs(Permit(node="gw-0"), 9, [place(1, "nonsense")], FLEET)


@pytest.mark.parametrize(("least", "waits"), [("7", False), ("8", True), ("80%", False), ("100%", True)])
def test_enough_nodes_must_stay_active(least: str, waits: bool) -> None:
    assert bool(permit_needs(Permit(node="gw-0", min_active=least), 9, [], FLEET)) is waits


def test_nodes_that_may_be_gone_are_not_counted_as_active() -> None:
    fleet = [FLEET[0], FLEET[1], FLEET[2].replace(unconfirmed=True), FLEET[3].replace(state=NodeState.CORDONED)]
    assert "1 would remain of the 2" in permit_needs(Permit(node="gw-0", min_active="2"), 9, [], fleet)


def test_a_cohort_goes_in_its_order_and_stands_where_the_first_of_it_came() -> None:
    second = Permit(node="gw-2", max_unavailable="1", cohort="c", order=2)
    first = waiting(9, "1", cohort="c", order=1)
    assert permit_needs(second, 3, [first], FLEET) == "a permit: gw-9 first"
    assert first.permit is not None
    assert permit_needs(first.permit, 9, [Place(3, replace(second, granted=False)), waiting(5, "1")], FLEET) == ""
    assert permit_needs(Permit(node="gw-5", max_unavailable="1"), 5, [first], FLEET) == ""


def test_who_is_about_to_queue_up_has_its_turn_first() -> None:
    members = {"gw-0": 0, "gw-1": 1, "gw-2": 2, "gone": 0}
    cordoned = [node.replace(state=NodeState.CORDONED) for node in FLEET[:3]]
    own = Permit(node="gw-2", max_unavailable="1", cohort="c", order=2)
    assert order_needs(own, [place(1)], members, cordoned) == "its turn in the cohort: gw-0 first"
    assert order_needs(own, [place(1), waiting(4, node="gw-0")], members, cordoned) == ""
    assert order_needs(replace(own, max_unavailable=None), [], members, cordoned) == ""
    drained = [node.replace(state=NodeState.DRAINED) for node in FLEET[:2]]
    assert order_needs(own, [], members, drained) == ""


class Draining:
    """A fleet that drains, with etcd's part played: each node looks, and acts on what it saw when it gets to."""

    def __init__(self) -> None:
        self.revision = 0
        self.queue: dict[str, tuple[int, int, Permit]] = {}  # by node: create revision, mod revision, permit
        self.seen: dict[str, tuple[int, list[Place]]] = {}
        self.done: list[str] = []

    def step(self, permit: Permit, action: str) -> None:
        node = permit.node
        if action == "look":
            self.seen[node] = self.revision, [Place(since, each) for since, _, each in self.queue.values()]
        elif action == "act":
            self._act(permit)
        elif node in self.queue and (action == "die" or self.queue[node][2].granted):
            self.done += [node] if action == "end" else []
            del self.queue[node]

    def _act(self, permit: Permit) -> None:
        node = permit.node
        if node in self.done:
            return
        if node not in self.queue:
            self.revision += 1
            self.queue[node] = self.revision, self.revision, replace(permit, granted=False)
        elif node in self.seen:
            since, (at, places) = self.queue[node][0], self.seen[node]
            unchanged = all(mod <= at for _, mod, _ in self.queue.values())
            if unchanged and not permit_needs(permit, since, places, FLEET):
                self.revision += 1
                self.queue[node] = since, self.revision, replace(permit, granted=True)

    @property
    def going(self) -> list[Permit]:
        return [permit for _, _, permit in self.queue.values() if permit.granted]


PERMITS = st.lists(
    st.tuples(st.sampled_from([None, "1", "2", "3"]), st.sampled_from(["", "c", "d"])), min_size=1, max_size=6
).map(
    lambda found: [
        Permit(node=f"gw-{number}", max_unavailable=most, cohort=cohort, order=number)
        for number, (most, cohort) in enumerate(found)
    ]
)
STEPS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["look", "act", "act", "end", "die"])), max_size=150)


@given(PERMITS, STEPS)
@settings(max_examples=300, deadline=None)
def test_whatever_the_order_never_more_go_at_once_than_any_of_them_allows(
    permits: list[Permit], steps: list[tuple[int, str]]
) -> None:
    fleet = Draining()
    for number, action in steps:
        fleet.step(permits[number % len(permits)], action)
        limits = [int(each.max_unavailable) for each in fleet.going if each.max_unavailable]
        assert len(fleet.going) <= min(limits, default=len(permits))


def test_who_looked_before_one_came_that_goes_first_looks_again() -> None:
    first, second = (Permit(node=f"gw-{n}", max_unavailable="1", cohort="c", order=n) for n in range(2))
    fleet = Draining()
    for permit, action in ((second, "act"), (second, "look"), (first, "act"), (first, "look"), (first, "act")):
        fleet.step(permit, action)
    fleet.step(second, "act")
    assert [permit.node for permit in fleet.going] == ["gw-0"]


@given(st.permutations(range(6)), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_a_cohort_that_has_queued_up_drains_in_its_order_and_to_its_end(arrival: list[int], rng: Random) -> None:
    permits = [Permit(node=f"gw-{n}", max_unavailable="1", cohort="c", order=n) for n in range(6)]
    fleet = Draining()
    for number in arrival:
        fleet.step(permits[number], "act")
    for _ in range(100):
        for permit in rng.sample(permits, 6):
            fleet.step(permit, "look")
            fleet.step(permit, "act")
        for permit in fleet.going:
            fleet.step(permit, "end")
    assert fleet.done == [f"gw-{n}" for n in range(6)]


def test_a_cohort_waits_for_all_of_it() -> None:
    assert cohort_needs(["gw-0"], 1, [], placing=True) == HALF_PLACED
    cordoned = [node.replace(state=NodeState.CORDONED) for node in FLEET[:2]]
    assert cohort_needs(["gw-0", "gw-1"], 2, cordoned) == ""
    assert cohort_needs(["gw-0", "gone"], 2, cordoned) == ""
    assert "gw-2 not cordoned" in cohort_needs(["gw-0", "gw-2"], 2, [*cordoned, FLEET[2]])
    assert "1 of its 2" in cohort_needs(["gw-0"], 2, cordoned)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_permit_or_nothing(value: bytes) -> None:
    assert decode_permit(value) is None
    assert decode_permit(encode_permit(Permit(node="gw-1"))) == Permit(node="gw-1")


def test_a_permit_that_can_not_be_read_is_somebody_who_drains() -> None:
    own = Permit(node="gw-1", max_unavailable="1")
    assert "somebody drains already" in permit_needs(own, 2, [Place(1, None), Place(2, own)], [])
