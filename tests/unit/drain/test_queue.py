"""Who may drain, and who waits for whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.drain.queue import Permit, Place, cohort_needs, decode_permit, encode_permit, permit_needs
from clusterd.node import Node, NodeState

FLEET = [Node(id=f"gw-{number}", address="h:1") for number in range(8)]


def place(since: int, most: str | None = None, node: str | None = None) -> Place:
    return Place(since, Permit(node=node or f"gw-{since}", max_unavailable=most))


def test_without_limits_nobody_waits() -> None:
    assert permit_needs(Permit(node="gw-0"), 9, [place(1), place(2)], FLEET) == ""


def test_one_waits_for_who_came_before_and_names_them() -> None:
    own = Permit(node="gw-0", max_unavailable="1")
    assert "gw-1 drains already" in permit_needs(own, 9, [place(1), place(9, node="gw-0"), place(10)], FLEET)
    assert permit_needs(own, 9, [place(10)], FLEET) == ""


def test_the_smallest_limit_of_all_ahead_counts() -> None:
    loose = Permit(node="gw-0", max_unavailable="5")
    assert permit_needs(loose, 9, [place(1, "1")], FLEET)
    assert not permit_needs(loose, 9, [place(1, "2")], FLEET)
    assert not permit_needs(loose, 9, [place(1), place(10, "1")], FLEET)


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


@given(st.lists(st.sampled_from([None, "1", "2", "3", "25%"]), min_size=1, max_size=8))
def test_never_more_go_at_once_than_any_of_them_allows(limits: list[str | None]) -> None:
    queue = [Place(since, Permit(node=f"gw-{since}", max_unavailable=most)) for since, most in enumerate(limits)]
    going = [p for p in queue if p.permit and not permit_needs(p.permit, p.since, queue, FLEET)]
    for chosen in going:
        assert chosen.permit is not None
        rank = sum(other.since < chosen.since for other in going)
        most = chosen.permit.max_unavailable
        assert most is None or rank < (2 if most == "25%" else int(most))


def test_a_cohort_waits_for_all_of_it() -> None:
    cordoned = [node.replace(state=NodeState.CORDONED) for node in FLEET[:2]]
    assert cohort_needs(["gw-0", "gw-1"], 2, cordoned) == ""
    assert cohort_needs(["gw-0", "gone"], 2, cordoned) == ""
    assert "gw-2 not cordoned" in cohort_needs(["gw-0", "gw-2"], 2, [*cordoned, FLEET[2]])
    assert "1 of its 2" in cohort_needs(["gw-0"], 2, cordoned)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_permit_or_nothing(value: bytes) -> None:
    assert decode_permit(value) is None
    assert decode_permit(encode_permit(Permit(node="gw-1"))) == Permit(node="gw-1")
