"""Every record that anyone can put under our keys: it is read as what it is, or as nothing, and can be shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from clusterctl.drain.rendering import facts, progress_document, status_document, status_table
from clusterctl.drain.tracking import Tracker
from clusterctl.fleet import Entry
from clusterctl.history import as_document as entry_document
from clusterctl.history import as_table as history_table
from clusterctl.render import documents, fleet, tables
from hypothesis import example, given
from hypothesis import strategies as st

from clusterd.drain.intent import Intent, IntentKind, decode_intent, encode_intent, make_drain
from clusterd.drain.queue import Permit, Place, decode_permit, encode_permit, permit_needs
from clusterd.election.ballot import in_order
from clusterd.escape import is_plain
from clusterd.etcd.messages import KeyValue
from clusterd.history import decode_entry
from clusterd.keys import Keyspace
from clusterd.node import Node, decode_node, encode_node
from clusterd.records import MAX_BRACKETS, MAX_RECORD_BYTES
from clusterd.status import DrainProgress, NodeStatus, decode_status, encode_status
from clusterd.topology import Topology
from tests.fuzz.profiles import fuzzed

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOSTILE = "x\x1b]0;own\x07\x1b[2J\u202eevil\u200b\u3164\r\n"
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([5e-324, 1e308, -0.0]),
    st.text(max_size=8),
    st.sampled_from(
        [
            "",
            HOSTILE,
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "25%",
            "999999%",
            "active",
            "drained",
            "drain",
        ]
    ),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
SAMPLES: dict[str, bytes] = {
    "node": encode_node(Node(id="gw-1", address="10.0.0.5:8080", labels={"tier": "edge"}, started_at=NOW.isoformat())),
    "intent": encode_intent(make_drain(by="ann", now=NOW, reason="why", deadline=600, rate=5.0, max_unavailable="25%")),
    "status": encode_status(
        NodeStatus(sessions=5, at=NOW.isoformat(), drain=DrainProgress(intent="i", at_start=9, left=5, rate=2.0))
    ),
    "permit": encode_permit(Permit(node="gw-1", intent="i", max_unavailable="1", min_active="50%")),
    "history": json.dumps({"v": 1, "at": NOW.isoformat(), "what": "drain", "node": "gw-1"}).encode(),
}


@st.composite
def documents_like(draw: st.DrawFn, sample: bytes) -> bytes:
    """A document with some of its fields changed, at any depth, and perhaps some of its bytes."""
    document = json.loads(sample)
    for _ in range(draw(st.integers(0, 3))):
        place = document
        while isinstance(place, dict) and place:
            name = draw(st.sampled_from([*sorted(place), "later"]))
            if isinstance(place.get(name), dict) and draw(st.booleans()):
                place = place[name]
                continue
            place[name] = draw(JSON)
            break
    text = bytearray(json.dumps(document).encode())
    for _ in range(draw(st.integers(0, 2))):
        text[draw(st.integers(0, len(text) - 1))] = draw(st.integers(0, 255))
    return bytes(text)


def values(kind: str) -> st.SearchStrategy[bytes]:
    return st.one_of(
        documents_like(SAMPLES[kind]), documents_like(SAMPLES[kind]), st.binary(max_size=64), JSON.map(as_bytes)
    )


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def assert_showable(*texts: str) -> None:
    for text in texts:
        assert is_plain(text.replace("\n", "").replace("\t", ""))


def show(table: tables.Table) -> None:
    assert_showable(tables.aligned(table), tables.tsv(table))
    rows = tables.aligned(table).split("\n")
    assert len(rows) == 1 + len(table.rows)


def show_document(document: Any) -> None:
    line = documents.as_json_line(document)
    assert json.loads(line) == json.loads(json.dumps(document))
    assert_showable(documents.as_json(document), line, documents.as_yaml(document))


@fuzzed(120)
@given(values("node"))
def test_nodes(value: bytes) -> None:
    node = decode_node("gw-1", value, lease=7, mod_revision=9)
    assert node.id == "gw-1"
    if not node.foreign:
        assert len(encode_node(node)) <= MAX_RECORD_BYTES
        assert decode_node("gw-1", encode_node(node), lease=7, mod_revision=9) == node
    assert len(Topology.of([node, Node(id="gw-2", address="10.0.0.6:80")], revision=9)) == 2
    show(fleet.table([Entry(node)], NOW, fleet.WIDE))
    show_document(fleet.node_document(node))


@fuzzed(120)
@given(values("status"))
@example(json.dumps({"sessions": 10**4000}).encode())
@example(json.dumps({"drain": {"left": 10**400, "rate": 5e-324, "at_start": 1}}).encode())
@example(json.dumps({"drain": {"left": 10, "rate": 5e-324, "at_start": 1}}).encode())
def test_statuses(value: bytes) -> None:
    status = decode_status(value)
    if status is None:
        return
    assert decode_status(encode_status(status)) == status
    entry = Entry(Node(id="gw-1", address="h:1", instance=status.instance), status)
    show(fleet.table([entry], NOW, fleet.WIDE))
    show_document(fleet.entry_document(entry))
    if status.drain is not None:
        tracker = Tracker("gw-1", make_drain(by="ann", now=NOW))
        tracker.progress = status.drain
        assert_showable(facts(tracker))
        show_document(progress_document(tracker))
        show_document(status_document(tracker))


@fuzzed(120)
@given(values("intent"))
def test_intents(value: bytes) -> None:
    intent = decode_intent(value)
    if intent is None:
        return
    assert decode_intent(encode_intent(intent)) == intent
    tracker = Tracker("gw-1", intent)
    show(status_table([tracker]))
    show_document(status_document(tracker))


@fuzzed(60)
@given(values("permit"), values("permit"), st.integers(0, 5))
def test_permits(own: bytes, other: bytes, nodes: int) -> None:
    permit = decode_permit(own) or Permit(node="gw-1")
    queue = [Place(1, decode_permit(other)), Place(2, permit)]
    fleet_nodes = [Node(id=f"gw-{number}", address="h:1") for number in range(nodes)]
    assert isinstance(permit_needs(permit, 2, queue, fleet_nodes), str)


@fuzzed(60)
@given(values("history"))
def test_history(value: bytes) -> None:
    entry = decode_entry(value)
    if entry is not None:
        show(history_table([entry]))
        show_document(entry_document(entry))


@fuzzed(60)
@given(
    st.lists(
        st.builds(
            KeyValue, key=st.binary(max_size=12), value=st.binary(max_size=12), create_revision=st.integers(1, 99)
        )
    )
)
def test_candidates(kvs: list[KeyValue]) -> None:
    candidates = in_order(kvs)
    assert [each.fence for each in candidates] == sorted(kv.create_revision for kv in kvs)
    assert all(isinstance(each.id, str) for each in candidates)


@fuzzed(100)
@given(st.binary(max_size=40))
@example("/nodes/\u3164".encode())
def test_keys_have_names_that_can_be_shown_and_differ(rest: bytes) -> None:
    keys = Keyspace()
    name = keys.node_id(keys.nodes + rest)
    assert is_plain(name)
    assert keys.node_id(keys.nodes + rest + b"x") != name


DECODERS: dict[str, Callable[[bytes], Any]] = {
    "node": lambda value: None if decode_node("gw-1", value).foreign else "a node",
    "intent": decode_intent,
    "status": decode_status,
    "permit": decode_permit,
    "history": decode_entry,
}


@pytest.mark.parametrize("kind", DECODERS)
def test_what_is_huge_or_deep_is_nothing(kind: str) -> None:
    document = json.loads(SAMPLES[kind])
    assert DECODERS[kind](SAMPLES[kind])
    bombs = [
        json.dumps({**document, "later": "x" * MAX_RECORD_BYTES}).encode(),
        b'{"later":' + b"[" * 100_000,
        json.dumps(document)[:-1].encode() + b',"later":' + b"[" * MAX_BRACKETS + b"]" * MAX_BRACKETS + b"}",
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ]
    assert [DECODERS[kind](bomb) for bomb in bombs] == [None] * 4


def test_an_intent_of_another_kind_is_not_followed() -> None:
    assert decode_intent(msgspec.json.encode({"id": "i", "kind": "explode"})) is None
    assert decode_intent(msgspec.json.encode(Intent(id="i", kind=IntentKind.DRAIN, v=2))) is None
