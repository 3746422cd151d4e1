"""`clusterctl route` and `clusterctl slots`, in every form, from topologies that need no etcd."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from clusterctl import slots
from clusterctl.balance import Balance
from clusterctl.render import routes, tables
from clusterctl.render.routes import route_document
from clusterctl.route import _TEXTS as ROUTE_TEXTS
from clusterctl.route import Question
from clusterctl.slots import _TEXTS as SLOTS_TEXTS

from clusterd import Node, NodeState, Topology
from clusterd.errors import NothingMatched

HOSTILE = "x\x1b[31m\r\n\t\u202e\x9b[bold]é😀\x00"
FLEET = Topology.of(
    [
        Node(id="gw-1", address="10.0.0.1:80", zone="a", weight=200),
        Node(id="gw-2", address="10.0.0.2:80", zone="b"),
        Node(id="gw-3", address="10.0.0.3:80", zone="a"),
        Node(id="gw-4", address="10.0.0.4:80", state=NodeState.DRAINING),
        Node(id="go", foreign=True, weight=0),
    ],
    revision=7,
)
IDLE = Topology.of([node.replace(state=NodeState.DRAINING) for node in FLEET], revision=8)


def test_a_route_is_a_row_with_owner_and_fallbacks() -> None:
    expected = FLEET.route("user-42", 3)
    heading, row = tables.aligned(routes.table(Question(("user-42",)).answer(FLEET))).splitlines()
    assert heading.split() == ["KEY", "SLOT", "OWNER", "ADDRESS", "ZONE", "FALLBACKS", "REVISION"]
    owner, *fallbacks = expected.nodes
    assert row.split() == [
        "user-42",
        str(expected.slot),
        owner.id,
        owner.address,
        owner.zone,
        ",".join(node.id for node in fallbacks),
        "7",
    ]


def test_a_route_is_a_document() -> None:
    (routed,) = Question(("user-42",), 2, "b").answer(FLEET)
    owner, fallback = FLEET.route("user-42", 2, "b").nodes
    assert route_document(routed) == {
        "key": "user-42",
        "slot": FLEET.slot_of("user-42"),
        "owner": {"id": owner.id, "address": owner.address, "zone": owner.zone},
        "fallbacks": [{"id": fallback.id, "address": fallback.address, "zone": fallback.zone}],
        "revision": 7,
    }


def test_keys_keep_their_order_and_repeats() -> None:
    keys = ("b", "a", "b", "")
    assert [routed.key for routed in Question(keys).answer(FLEET)] == list(keys)


def test_without_fallbacks_there_is_the_owner_alone() -> None:
    (routed,) = Question(("k",), 1).answer(FLEET)
    assert routed.fallbacks == ()
    assert len(Question(("k",), 99).answer(FLEET)[0].fallbacks) == 2


def test_a_key_that_is_not_utf8_is_routed_by_its_bytes_and_shown_escaped() -> None:
    (routed,) = Question((os.fsdecode(b"k\xff"),)).answer(FLEET)
    assert (routed.slot, routed.key) == (FLEET.slot_of(b"k\xff"), r"k\xff")


@pytest.mark.parametrize("form", [*ROUTE_TEXTS, "table"])
def test_no_key_and_no_record_reaches_a_terminal_raw(form: str) -> None:
    topology = Topology.of([Node(id=HOSTILE, address=HOSTILE, zone=HOSTILE)], revision=7)
    answer = Question((HOSTILE,)).answer(topology)
    text = tables.aligned(routes.table(answer)) if form == "table" else ROUTE_TEXTS[form](answer)
    assert text.replace("\n", "").replace("\t", "").isprintable()
    if form in ("json", "yaml"):
        (document,) = json.loads(text) if form == "json" else yaml.safe_load(text)
        assert (document["key"], document["owner"]["id"]) == (HOSTILE, HOSTILE)


def test_names_are_the_owners_one_a_line() -> None:
    keys = tuple(f"user-{i}" for i in range(20))
    owners = [owner.id for owner in FLEET.owners(keys) if owner]
    assert ROUTE_TEXTS["name"](Question(keys).answer(FLEET)).split() == owners


@pytest.mark.parametrize(
    ("topology", "says"), [(Topology.of([]), "no nodes are registered"), (IDLE, "none of 5 nodes is active")]
)
def test_where_nobody_may_own_keys_nothing_is_matched(topology: Topology, says: str) -> None:
    with pytest.raises(NothingMatched, match=says):
        Question(("k",)).answer(topology)


def test_slots_are_told_beside_the_fair_share() -> None:
    lines = [line.split() for line in tables.aligned(slots.table(Balance.of(FLEET))).splitlines()]
    assert lines[0] == ["NODE", "STATE", "ZONE", "WEIGHT", "SLOTS", "SHARE", "FAIR", "RATIO"]
    assert lines[1] == ["go", "active,foreign", "-", "-", "0", "0.00%", "0.00%", "-"]
    gw_1 = FLEET.shares()["gw-1"]
    assert lines[2][:5] == ["gw-1", "active", "a", "200", str(gw_1.slots)]
    assert lines[2][6:] == ["50.00%", f"{gw_1.slots / gw_1.fair:.3f}"]
    assert lines[5] == ["gw-4", "draining", "-", "100", "0", "0.00%", "0.00%", "-"]


def test_slots_are_a_document_that_adds_up() -> None:
    document = json.loads(SLOTS_TEXTS["json"](Balance.of(FLEET)))
    assert list(document) == ["revision", "slots", "imbalance", "nodes"]
    assert sum(node["slots"] for node in document["nodes"]) == document["slots"] == FLEET.slots
    assert document["imbalance"] == max(node["ratio"] for node in document["nodes"] if node["ratio"])
    assert [node["fair_share"] for node in document["nodes"]] == [0.0, 0.5, 0.25, 0.25, 0.0]
    assert yaml.safe_load(SLOTS_TEXTS["yaml"](Balance.of(FLEET))) == document


def test_lines_and_tsv_hold_what_the_document_holds() -> None:
    balance = Balance.of(FLEET, ["gw-2"])
    nodes = json.loads(SLOTS_TEXTS["json"](balance))["nodes"]
    assert [json.loads(line) for line in SLOTS_TEXTS["jsonl"](balance).splitlines()] == nodes
    heading, *rows = (line.split("\t") for line in SLOTS_TEXTS["tsv"](balance).splitlines())
    for row, node in zip(rows, nodes, strict=True):
        cells = dict(zip(heading, row, strict=True))
        assert float(cells["share"]) == node["share"]
        assert float(cells["ratio"] or "nan") == pytest.approx(node["ratio"] or float("nan"), nan_ok=True)
        assert [cells[name] for name in ("gains", "loses", "slots_after")] == [
            str(node[name]) for name in ("gains", "loses", "slots_after")
        ]


@pytest.mark.parametrize("leaving", [["gw-2"], ["gw-1", "gw-3"], ["gw-4", "go"], ["gw-1", "gw-2", "gw-3"]])
def test_without_some_nodes_the_others_have_what_a_fleet_without_them_has(leaving: list[str]) -> None:
    document = json.loads(SLOTS_TEXTS["json"](Balance.of(FLEET, leaving)))
    after = Topology.of(node for node in FLEET if node.id not in leaving)
    expected = {node_id: share.slots for node_id, share in after.shares().items()}
    assert {node["id"]: node["slots_after"] for node in document["nodes"] if node["slots_after"]} == expected
    without = document["without"]
    assert without["ids"] == leaving
    assert without["minimum"] == sum(node["slots"] for node in document["nodes"] if node["id"] in leaving)
    assert without["minimum"] <= without["moved"] == sum(node["loses"] for node in document["nodes"])


def test_the_summary_is_a_line_and_another_for_those_who_leave() -> None:
    balance = Balance.of(FLEET, ["gw-2", "gw-2"])
    whole, without = slots.summary(balance)
    assert whole == f"5 nodes, 262144 slots, revision 7, imbalance {balance.imbalance:.3f}"
    assert balance.departure is not None
    moved, share = balance.departure.moved, balance.departure.moved / 262144
    assert without.startswith(f"without gw-2: {moved} slots would move, {share:.2%} of all, ")
    assert "at least; imbalance 1." in without


def test_where_nobody_owns_a_slot_the_summary_says_so() -> None:
    assert slots.summary(Balance.of(IDLE)) == ["5 nodes, 262144 slots, revision 8, nobody owns a slot"]
    assert Balance.of(IDLE).imbalance is None
    assert slots.summary(Balance.of(FLEET, ["gw-1", "gw-2", "gw-3"]))[1].endswith("; nobody would own a slot")
    empty = Balance.of(Topology.of([]))
    assert json.loads(SLOTS_TEXTS["json"](empty))["nodes"] == []
    assert SLOTS_TEXTS["jsonl"](empty) == ""


@pytest.mark.parametrize("form", [*SLOTS_TEXTS, "table"])
def test_no_record_reaches_a_terminal_raw_by_its_slots(form: str) -> None:
    balance = Balance.of(Topology.of([Node(id=HOSTILE, address="h:1", zone=HOSTILE)]))
    text = tables.aligned(slots.table(balance)) if form == "table" else SLOTS_TEXTS[form](balance)
    assert text.replace("\n", "").replace("\t", "").isprintable()
