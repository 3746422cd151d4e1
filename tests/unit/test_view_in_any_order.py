"""Whatever befalls an etcd, in whatever order: what one process believes of the fleet follows from the rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from clusterd.etcd.messages import Event, KeyValue
from clusterd.view import FleetView
from tests.unit.views import NAMES, SPACE, TTL, expected, listing, put


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
