"""What one process believes of the fleet, given what etcd answered and when: all times here are explicit seconds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterd.etcd.messages import Event, Header, KeyValue, RangeReply
from clusterd.keys import Keyspace
from clusterd.node import Node, decode_node, encode_node
from clusterd.topology import Change, Topology
from clusterd.view import FleetView

TTL = 10.0
SPACE = Keyspace()
NAMES = (b"gw-1", b"gw-2", b"gw-3", b"a/b", b"\xff", b"\\xff", b"")


def key(name: str | bytes) -> bytes:
    return SPACE.nodes + (name if isinstance(name, bytes) else name.encode())


def kv(name: str | bytes, revision: int, *, lease: int = 1, weight: int = 100) -> KeyValue:
    """What etcd has at the key of a node that put its record at `revision`; a name that is no id gets a bare word."""
    node_id = SPACE.node_id(key(name))
    try:
        value = encode_node(Node(id=node_id, address="10.0.0.5:8080", weight=weight))
    except ValueError:
        value = b"active"
    return KeyValue(key=key(name), value=value, create_revision=revision, mod_revision=revision, version=1, lease=lease)


def put(name: str | bytes, revision: int, *, weight: int = 100) -> Event:
    return Event(kv=kv(name, revision, weight=weight))


def deleted(name: str | bytes, revision: int) -> Event:
    return Event(kv=KeyValue(key=key(name), mod_revision=revision), type="DELETE")


def listing(*kvs: KeyValue, revision: int, cluster_id: int = 3, raft_term: int = 2) -> RangeReply:
    header = Header(cluster_id=cluster_id, revision=revision, raft_term=raft_term)
    return RangeReply(header=header, kvs=tuple(sorted(kvs, key=lambda kv: kv.key)), count=len(kvs))


def expected(kvs: dict[bytes, KeyValue]) -> dict[str, Node]:
    found = (
        decode_node(SPACE.node_id(kv.key), kv.value, lease=kv.lease, mod_revision=kv.mod_revision)
        for kv in kvs.values()
    )
    return {node.id: node for node in found}


def ids(change: Change) -> tuple[str, str, str]:
    """Who joined, left and was updated."""
    return (
        " ".join(node.id for node in change.joined),
        " ".join(node.id for node in change.left),
        " ".join(update.after.id for update in change.updated),
    )


def doubted(topology: Topology) -> str:
    return " ".join(node.id for node in topology if node.unconfirmed)


def answering(view: FleetView, until: float) -> FleetView:
    """Let etcd answer often enough up to a time."""
    while view.last_reached < until:
        view.reached(min(view.last_reached + TTL / 4, until))
    return view


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


# --- Any order of all of it ---


@dataclass
class Fleet:
    """A view beside a model of the etcd it looks at."""

    now: float = 0.0
    revision: int = 1
    keys: dict[bytes, KeyValue] = field(default_factory=dict)
    unseen: list[Event] = field(default_factory=list)
    view: FleetView = field(default_factory=lambda: FleetView(TTL, SPACE.node_id, now=0.0))

    def __post_init__(self) -> None:
        self.list()

    def put(self) -> None:
        self.revision += 1
        event = put(NAMES[self.revision % len(NAMES)], self.revision)
        self.keys[event.kv.key] = event.kv
        self.unseen.append(event)

    def delete(self) -> None:
        if self.keys:
            self.revision += 1
            gone = sorted(self.keys)[self.revision % len(self.keys)]
            del self.keys[gone]
            self.unseen.append(Event(kv=KeyValue(key=gone, mod_revision=self.revision), type="DELETE"))

    def deliver(self) -> None:
        if self.unseen:
            self.view.apply(self.unseen, self.now)
            self.unseen = []

    def list(self) -> None:
        self.view.snapshot(listing(*self.keys.values(), revision=self.revision), sent=self.now)
        self.unseen = []

    def reach(self) -> None:
        self.view.reached(self.now)

    def break_off(self) -> None:
        self.view.broken(self.now)

    def follow(self) -> None:
        self.view.followed()

    def tick(self) -> None:
        self.view.tick(self.now)
        assert not self.view.tick(self.now), "time that does not pass changes nothing"
        upcoming = self.view.next_tick(self.now)
        assert self.now < upcoming < math.inf
        assert not self.view.tick((self.now + upcoming) / 2), "the next tick is never late"


STEPS = [Fleet.put, Fleet.delete, Fleet.deliver, Fleet.list, Fleet.reach, Fleet.break_off, Fleet.follow, Fleet.tick]


@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 12)), max_size=50))
def test_whatever_happens_etcds_nodes_are_shown_and_all_others_are_marked(
    steps: list[tuple[Callable[[Fleet], None], int]],
) -> None:
    fleet = Fleet()
    for step, halves in steps:
        fleet.now += halves / 2
        step(fleet)
        if not fleet.unseen:
            shown = {node.id: node for node in fleet.view.topology if not node.unconfirmed}
            assert shown == expected(fleet.keys)
            assert fleet.view.key_count == len(fleet.keys)
    fleet.follow()
    fleet.list()
    for _ in range(8):  # all is well for two TTLs: nothing doubtful is left
        fleet.now += TTL / 4
        fleet.reach()
        fleet.tick()
    assert dict(fleet.view.topology.nodes) == expected(fleet.keys)
    assert not fleet.view.topology.stale


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 12)), max_size=30))
def test_the_clock_alone_brings_a_silent_fleet_to_its_end_state(
    steps: list[tuple[Callable[[Fleet], None], int]],
) -> None:
    fleet = Fleet()
    for step, halves in steps:
        fleet.now += halves / 2
        step(fleet)
    for _ in range(4):
        fleet.now = fleet.view.next_tick(fleet.now)
        fleet.view.tick(fleet.now)
    assert fleet.view.topology.stale
    fleet.now += TTL
    assert not fleet.view.tick(fleet.now)


@given(st.lists(st.sampled_from([Fleet.put, Fleet.delete, Fleet.deliver, Fleet.tick]), max_size=30))
def test_an_outage_takes_nobody_out_of_the_fleet(steps: list[Callable[[Fleet], None]]) -> None:
    fleet = Fleet()
    for _ in range(5):
        fleet.put()
    fleet.deliver()
    fleet.now = TTL / 2
    for step in steps:
        before = set(fleet.view.topology.nodes)
        fleet.now += 1.0
        step(fleet)
        assert before <= set(fleet.view.topology.nodes)


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
