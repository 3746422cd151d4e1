"""What one process believes of the fleet, given what etcd answered and when: all times here are explicit seconds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.etcd.messages import Header, KeyValue
from clusterd.node import Node
from clusterd.topology import Change
from clusterd.view import FleetView
from tests.unit.views import NAMES, SPACE, TTL, answering, deleted, doubted, expected, ids, key, kv, listing, put


@pytest.fixture
def view() -> FleetView:
    """A view that has listed gw-1, gw-2 and gw-3 at revision 10, at 0 s."""
    view = FleetView(TTL, SPACE.node_id, now=0.0)
    view.snapshot(listing(kv("gw-1", 8), kv("gw-2", 9), kv("gw-3", 10), revision=10), sent=0.0)
    return view


# --- The normal case: etcd answers, and the topology is what etcd has ---


def test_before_the_first_list_there_is_nobody_and_nothing_is_stale() -> None:
    view = FleetView(TTL, SPACE.node_id, now=0.0)
    assert len(view.topology) == view.key_count == 0
    assert not view.tick(100.0)
    assert not view.topology.stale
    assert not view.rebuilt(Header(cluster_id=3, revision=1, raft_term=1), 0)


def test_the_first_list_makes_everyone_join() -> None:
    view = FleetView(TTL, SPACE.node_id, now=0.0)
    change = view.snapshot(listing(kv("gw-2", 9), kv("gw-1", 8), revision=10), sent=0.5)
    assert ids(change) == ("gw-1 gw-2", "", "")
    assert (view.topology.revision, view.topology.cluster_id, view.key_count) == (10, 3, 2)
    assert view.last_reached == 0.5


def test_one_batch_is_one_change(view: FleetView) -> None:
    change = view.apply([put("gw-4", 11), deleted("gw-1", 12), put("gw-2", 12, weight=7)], now=1.0)
    assert ids(change) == ("gw-4", "gw-1", "gw-2")
    assert view.topology.revision == 12
    assert view.key_count == 3


def test_only_the_last_event_of_a_key_in_a_batch_counts(view: FleetView) -> None:
    change = view.apply([deleted("gw-1", 11), put("gw-1", 12), put("gw-4", 12), deleted("gw-4", 13)], now=1.0)
    assert ids(change) == ("", "", "gw-1")
    assert view.key_count == 3


def test_a_delete_of_a_key_that_was_never_seen_changes_nothing_but_the_revision(view: FleetView) -> None:
    assert not view.apply([deleted("gw-9", 11)], now=1.0)
    assert view.topology.revision == 11
    assert view.key_count == 3


def test_a_list_tells_what_was_missed_as_one_change(view: FleetView) -> None:
    missed = listing(kv("gw-2", 9), kv("gw-3", 15, weight=7), kv("gw-4", 14), revision=20)
    assert ids(view.snapshot(missed, sent=1.0)) == ("gw-4", "gw-1", "gw-3")
    assert view.topology.revision == 20


def test_a_list_that_brings_nothing_new_keeps_the_very_same_nodes(view: FleetView) -> None:
    before = view.topology
    assert not view.snapshot(listing(kv("gw-1", 8), kv("gw-2", 9), kv("gw-3", 10), revision=11), sent=1.0)
    assert all(before.nodes[node.id] is node for node in view.topology)


def test_keys_of_others_are_shown_and_counted(view: FleetView) -> None:
    change = view.apply([put(b"a/b", 11), put(b"\xff", 12), put(b"", 13)], now=1.0)
    assert all(node.foreign for node in change.joined)
    assert view.key_count == len(view.topology) == 6


def test_a_key_that_looks_like_another_when_shown_does_not_take_its_node_along(view: FleetView) -> None:
    view.apply([put(b"\xff", 11), put(b"\\xff", 11)], now=1.0)
    assert view.key_count == len(view.topology) == 5
    view.apply([deleted(b"\xff", 12)], now=1.0)
    assert view.key_count == len(view.topology) == 4


BATCHES = st.lists(
    st.lists(st.tuples(st.sampled_from(NAMES), st.booleans(), st.integers(0, 2)), min_size=1, max_size=5), max_size=12
)


@given(BATCHES)
def test_after_any_puts_and_deletes_the_topology_is_what_etcd_has(
    batches: list[list[tuple[bytes, bool, int]]],
) -> None:
    view, model, revision = FleetView(TTL, SPACE.node_id, now=0.0), dict[bytes, KeyValue](), 1
    view.snapshot(listing(revision=revision), sent=0.0)
    mine: dict[str, Node] = {}
    for batch in batches:
        events = []
        for name, is_put, weight in batch:
            revision += 1
            if is_put:
                events.append(put(name, revision, weight=weight))
                model[key(name)] = events[-1].kv
            else:
                events.append(deleted(name, revision))
                model.pop(key(name), None)
        change = view.apply(events, now=1.0)
        assert dict(change.before.nodes) == mine
        mine = dict(view.topology.nodes)
        assert Change.between(change.before, change.after) == change
        assert mine == expected(model)
        assert (view.topology.revision, view.key_count) == (revision, len(model))
    fresh = FleetView(TTL, SPACE.node_id, now=0.0)
    fresh.snapshot(listing(*model.values(), revision=revision), sent=0.0)
    assert fresh.topology == view.topology
    assert list(fresh.topology) == list(view.topology)
    assert fresh.key_count == view.key_count


# --- Stale: etcd can't confirm what is shown ---


def test_half_a_ttl_without_an_answer_makes_the_topology_stale(view: FleetView) -> None:
    assert not view.tick(4.9)
    assert view.tick(5.0)
    assert (view.topology.stale_since, len(view.topology)) == (0.0, 3)
    assert not view.tick(60.0)


def test_an_answer_makes_it_fresh_again(view: FleetView) -> None:
    view.tick(5.0)
    view.reached(6.0)
    change = view.tick(6.5)
    assert change
    assert not view.topology.stale
    assert ids(change) == ("", "", "")


def test_an_answer_counts_from_when_it_was_asked_for(view: FleetView) -> None:
    view.reached(4.0)
    view.reached(2.0)  # the answer to an earlier call, overtaken
    assert view.last_reached == 4.0
    assert not view.tick(8.9)
    view.tick(9.0)
    assert view.topology.stale_since == 4.0


def test_a_broken_watch_makes_it_stale_though_etcd_answers(view: FleetView) -> None:
    view.broken(1.0)
    view.broken(2.0)  # tried again, in vain
    view.reached(5.5)
    assert not view.tick(5.9)
    view.tick(6.0)
    assert view.topology.stale_since == 1.0
    view.followed()
    assert view.tick(6.1)
    assert not view.topology.stale


def test_a_list_makes_it_fresh(view: FleetView) -> None:
    view.broken(1.0)
    view.tick(20.0)
    assert view.snapshot(listing(kv("gw-1", 8), kv("gw-2", 9), kv("gw-3", 10), revision=10), sent=20.0)
    assert not view.topology.stale
    assert not view.tick(20.1)


def test_events_do_not_make_it_fresh_they_may_be_old(view: FleetView) -> None:
    view.tick(5.0)
    change = view.apply([put("gw-4", 11)], now=6.0)
    assert ids(change) == ("gw-4", "", "")
    assert view.topology.stale_since == 0.0


# --- Outages: what vanishes with etcd's health was not necessarily given up ---


def test_a_node_whose_key_vanished_while_etcd_was_well_is_gone(view: FleetView) -> None:
    assert ids(view.apply([deleted("gw-1", 11)], now=4.9)) == ("", "gw-1", "")


def test_a_node_whose_key_vanished_during_an_outage_is_kept_unconfirmed(view: FleetView) -> None:
    change = view.apply([deleted("gw-1", 11), deleted("gw-9", 11)], now=5.0)
    assert ids(change) == ("", "", "gw-1")
    assert doubted(view.topology) == "gw-1"
    assert view.topology.nodes["gw-1"].routable
    assert view.key_count == 2


@pytest.mark.parametrize(("at", "kept"), [(15.9, "gw-1"), (16.0, "")])
def test_one_ttl_after_an_outage_keys_that_vanish_are_gone_again(view: FleetView, at: float, kept: str) -> None:
    view.reached(6.0)
    answering(view, at)
    view.apply([deleted("gw-1", 11)], now=at)
    assert doubted(view.topology) == kept


def test_a_list_after_an_outage_keeps_who_is_missing_from_it(view: FleetView) -> None:
    change = view.snapshot(listing(kv("gw-1", 8), revision=20), sent=6.0)
    assert ids(change) == ("", "", "gw-2 gw-3")
    assert doubted(view.topology) == "gw-2 gw-3"
    assert view.key_count == 1


def test_who_has_not_registered_one_ttl_after_the_outage_is_dropped(view: FleetView) -> None:
    view.snapshot(listing(kv("gw-1", 8), revision=20), sent=6.0)
    answering(view, 15.9)
    assert not view.tick(15.9)
    assert ids(view.tick(16.0)) == ("", "gw-2 gw-3", "")
    assert not view.tick(16.1)


def test_nobody_is_dropped_while_etcd_is_away_again(view: FleetView) -> None:
    view.snapshot(listing(kv("gw-1", 8), revision=20), sent=6.0)
    view.tick(60.0)
    assert len(view.topology) == 3
    view.reached(60.0)
    view.tick(60.1)
    assert doubted(view.topology) == "gw-2 gw-3"
    answering(view, 69.9)
    assert ids(view.tick(70.0)) == ("", "gw-2 gw-3", "")


def test_a_kept_node_that_registers_again_is_confirmed(view: FleetView) -> None:
    view.snapshot(listing(kv("gw-1", 8), revision=20), sent=6.0)
    assert ids(view.apply([put("gw-2", 21)], now=7.0)) == ("", "", "gw-2")
    assert doubted(view.topology) == "gw-3"
    answering(view, 15.9)
    assert ids(view.tick(16.0)) == ("", "gw-3", "")


def test_a_kept_node_that_the_next_list_shows_is_confirmed(view: FleetView) -> None:
    view.snapshot(listing(kv("gw-1", 8), revision=20), sent=6.0)
    assert ids(view.snapshot(listing(kv("gw-1", 8), kv("gw-2", 9), revision=21), sent=7.0)) == ("", "", "gw-2")
    assert doubted(view.topology) == "gw-3"


def test_a_list_past_the_grace_drops_who_was_kept(view: FleetView) -> None:
    view.snapshot(listing(kv("gw-1", 8), revision=20), sent=6.0)
    answering(view, 15.9)
    assert ids(view.snapshot(listing(kv("gw-1", 8), revision=20), sent=16.0)) == ("", "gw-2 gw-3", "")


def test_a_kept_node_whose_new_key_vanishes_within_the_grace_is_still_kept(view: FleetView) -> None:
    view.snapshot(listing(kv("gw-1", 8), kv("gw-2", 9), revision=20), sent=6.0)
    view.apply([put("gw-3", 21)], now=7.0)
    view.apply([deleted("gw-3", 22)], now=8.0)
    assert doubted(view.topology) == "gw-3"


# --- etcd rebuilt: wiped, restored, replaced ---


@pytest.mark.parametrize(
    ("header", "rebuilt"),
    [
        (Header(cluster_id=3, revision=10, raft_term=2), False),
        (Header(cluster_id=3, revision=11, raft_term=3), False),
        (Header(cluster_id=4, revision=11, raft_term=3), True),
        (Header(cluster_id=3, revision=9, raft_term=2), True),
        (Header(cluster_id=3, revision=11, raft_term=1), True),
    ],
)
def test_another_cluster_or_a_history_that_went_back_is_an_etcd_rebuilt(
    view: FleetView, header: Header, *, rebuilt: bool
) -> None:
    assert view.rebuilt(header, 10) == rebuilt


def test_a_wiped_etcd_empties_the_fleet_only_after_one_ttl(view: FleetView) -> None:
    change = view.snapshot(listing(revision=1, cluster_id=4, raft_term=1), sent=1.0)
    assert ids(change) == ("", "", "gw-1 gw-2 gw-3")
    assert (view.topology.cluster_id, view.topology.revision, view.key_count) == (4, 1, 0)
    view.apply([put("gw-1", 2)], now=2.0)
    answering(view, 10.9)
    assert not view.tick(10.9)
    assert ids(view.tick(11.0)) == ("", "gw-2 gw-3", "")


def test_a_restored_etcd_is_believed_in_what_it_has_and_doubted_in_what_it_lacks(view: FleetView) -> None:
    change = view.snapshot(listing(kv("gw-1", 8), kv("gw-2", 9, weight=7), revision=9), sent=1.0)
    assert ids(change) == ("", "", "gw-2 gw-3")  # gw-2's record differs though its revision is the one known
    assert doubted(view.topology) == "gw-3"


def test_a_restore_with_the_same_revision_is_known_by_its_raft_term(view: FleetView) -> None:
    view.snapshot(listing(kv("gw-1", 8), revision=10, raft_term=1), sent=1.0)
    assert doubted(view.topology) == "gw-2 gw-3"
    assert not view.rebuilt(Header(cluster_id=3, revision=10, raft_term=1), 10)


def test_after_a_hint_that_etcd_was_rebuilt_the_next_list_loses_nobody_though_its_revision_looks_right(
    view: FleetView,
) -> None:
    view.doubt()
    change = view.snapshot(listing(kv("gw-1", 8), revision=11), 1.0)
    assert ids(change)[1] == ""
    assert doubted(view.topology) == "gw-2 gw-3"
    answering(view, 1.0 + TTL)
    change = view.snapshot(listing(kv("gw-1", 8), revision=12), 1.0 + TTL)
    assert ids(change)[1] == "gw-2 gw-3"
