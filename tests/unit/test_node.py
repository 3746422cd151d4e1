"""Node records: what is written can be read by everyone, and what anyone wrote harms nobody."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clusterd.errors import InvalidAddress, InvalidNodeId, RecordTooLarge, UsageError
from clusterd.keys import NODE_ID
from clusterd.node import (
    MAX_RECORD_BYTES,
    MAX_WEIGHT,
    Node,
    NodeState,
    check_address,
    check_weight,
    decode_node,
    encode_node,
)
from clusterd.status import NodeStatus, decode_status, encode_status

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ADDRESSES = st.builds("{}:{}".format, st.sampled_from(["10.0.0.5", "gw.example", "[::1]"]), st.integers(1, 65535))
NODES = st.builds(
    Node,
    id=st.from_regex(NODE_ID, fullmatch=True),
    address=ADDRESSES,
    weight=st.integers(0, MAX_WEIGHT),
    zone=TEXT,
    state=st.sampled_from(NodeState),
    labels=st.dictionaries(TEXT, TEXT, max_size=3),
    endpoints=st.dictionaries(TEXT, TEXT, max_size=3),
    instance=TEXT,
    started_at=TEXT,
    agent=TEXT,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("id", "v", "instance", "address", "state", "weight", "zone", "labels", "endpoints", "started_at", "agent")


def record(**fields: Any) -> bytes:
    return json.dumps({"v": 1, "id": "gw-1", "address": "10.0.0.5:8080", **fields}).encode()


def foreign(node_id: str, **fields: Any) -> Node:
    return Node(id=node_id, weight=0, foreign=True, **fields)


@given(NODES)
def test_a_record_that_was_written_reads_back_as_the_same_node(node: Node) -> None:
    assert decode_node(node.id, encode_node(node)) == node


def test_lease_and_revision_come_from_etcd_and_are_not_written() -> None:
    node = Node(id="gw-1", address="10.0.0.5:8080", lease=7, mod_revision=9, unconfirmed=True)
    assert set(json.loads(encode_node(node))) == set(FIELDS)
    read = decode_node("gw-1", encode_node(node), lease=8, mod_revision=10)
    assert (read.lease, read.mod_revision, read.unconfirmed) == (8, 10, False)


@given(st.binary(max_size=60))
@example(b"active")
@example(b'{"Op":0,"Addr":"10.0.0.5:8080","Metadata":null}')
def test_bytes_that_are_no_record_show_as_a_foreign_node(value: bytes) -> None:
    assert decode_node("node1", value, lease=7, mod_revision=9) == foreign("node1", lease=7, mod_revision=9)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.sampled_from(FIELDS))
def test_a_record_with_any_fields_is_a_node_that_could_be_written_or_foreign(fields: dict[str, Any], gone: str) -> None:
    everything = json.loads(record(**fields))
    everything.pop(gone, None)
    node = decode_node("gw-1", json.dumps(everything).encode())
    assert node.id == "gw-1"
    assert node == foreign("gw-1") or decode_node("gw-1", encode_node(node)) == node


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(record(weight=1.5), id="weight that is not whole"),
        pytest.param(record(weight=-1), id="negative weight"),
        pytest.param(record(weight=10**400), id="endless weight"),
        pytest.param(record(id="gw-2"), id="another node's record"),
        pytest.param(record(address="10.0.0.5"), id="no port"),
        pytest.param(record(address="10.0.0.5:" + "1" * 5000), id="port of 5,000 digits"),
        pytest.param(record(state="evicted"), id="state of a later version"),
        pytest.param(record(labels={"a": 1}), id="label that is not text"),
        pytest.param(record(zone="\ud800"), id="lone surrogate"),
        pytest.param(b'{"id":"gw-1","address":"h:1","x":' + b"[" * 8000 + b"]" * 8000 + b"}", id="deep nesting"),
        pytest.param(record(zone="[" * 257), id="more brackets than a record has"),
        pytest.param(b"[" * 16_000, id="deeper, and never closed"),
        pytest.param(record(zone="x" * MAX_RECORD_BYTES), id="too large"),
    ],
)
def test_a_record_that_cannot_be_used_shows_as_a_foreign_node(value: bytes) -> None:
    node = decode_node("gw-1", value)
    assert node == foreign("gw-1")
    assert node.state is NodeState.ACTIVE
    assert not node.routable


def test_fields_that_a_later_clusterd_added_are_passed_over() -> None:
    node = decode_node("gw-1", record(colour="blue", nested={"a": [1, None]}))
    assert node.routable


def test_a_record_of_a_version_that_only_later_clusterds_read_is_shown_but_not_routed_to() -> None:
    node = decode_node("gw-1", record(v=2))
    assert node.foreign
    assert not node.routable


def test_a_key_that_is_no_node_id_is_foreign_whatever_its_value_says() -> None:
    assert decode_node("a/b", record(id="a/b")).foreign
    assert decode_node("", record(id="")).foreign


@pytest.mark.parametrize("state", NodeState)
def test_only_an_active_node_with_an_address_is_routable(state: NodeState) -> None:
    assert Node(id="gw-1", address="h:1", state=state).routable == (state is NodeState.ACTIVE)
    assert not Node(id="gw-1", state=state).routable


def test_a_node_that_nothing_confirms_yet_is_still_routable() -> None:
    assert Node(id="gw-1", address="h:1", unconfirmed=True).routable


@pytest.mark.parametrize(
    "address",
    ["10.0.0.5:8080", "gw.example:1", "localhost:65535", "[::1]:8080", "[fe80::1%eth0]:80", "[::ffff:10.0.0.5]:80"],
)
def test_usable_addresses_are_taken(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize("address", ["", "10.0.0.5", ":8080", "8080", "[::1]"])
def test_an_address_needs_host_and_port(address: str) -> None:
    with pytest.raises(InvalidAddress):
        check_address(address)


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "+80", " 80", "80 ", "http", "8_0", "٨٠", "1" * 5000])
def test_a_port_is_a_number_from_1_to_65535(port: str) -> None:
    with pytest.raises(InvalidAddress):
        check_address(f"10.0.0.5:{port}")


@pytest.mark.parametrize(
    "host", ["::1", "[]", "[gw]", "[::1", "::1]", "[[::1]]", "a b", "a/b", "http://a", "a\n", "a\x1b"]
)
def test_a_host_is_a_name_or_an_ip_address(host: str) -> None:
    with pytest.raises(InvalidAddress, match="unusable host"):
        check_address(f"{host}:8080")


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        check_address(text)
    except InvalidAddress as error:
        assert repr(text) in str(error)  # noqa: PT017 - either way is right


@pytest.mark.parametrize("weight", [-1, MAX_WEIGHT + 1, 1.5, "100", None])
def test_a_weight_is_a_whole_number_within_bounds(weight: Any) -> None:
    with pytest.raises(UsageError, match=r"weight .* is out of range"):
        check_weight(weight)


@pytest.mark.parametrize("weight", [0, 1, MAX_WEIGHT])
def test_usable_weights_are_taken(weight: int) -> None:
    assert check_weight(weight) == weight


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"id": "a b"}, InvalidNodeId),
        ({"address": ""}, InvalidAddress),
        ({"weight": -1}, UsageError),
        ({"weight": True}, UsageError),
        ({"state": "bogus"}, UsageError),
        ({"zone": "\udcff"}, UsageError),
        ({"zone": None}, UsageError),
        ({"labels": {"tier": 1}}, UsageError),
        ({"labels": {"tier": object()}}, UsageError),
        ({"labels": {"a": "x" * MAX_RECORD_BYTES}}, RecordTooLarge),
    ],
)
def test_what_others_could_not_read_is_not_written(fields: dict[str, Any], error: type[UsageError]) -> None:
    with pytest.raises(error):
        encode_node(Node(**{"id": "gw-1", "address": "h:1", **fields}))


def test_a_record_of_exactly_the_largest_size_is_written_and_read() -> None:
    room = MAX_RECORD_BYTES - len(encode_node(Node(id="gw-1", address="h:1")))
    value = encode_node(Node(id="gw-1", address="h:1", zone="x" * room))
    assert len(value) == MAX_RECORD_BYTES
    assert not decode_node("gw-1", value).foreign
    with pytest.raises(RecordTooLarge):
        encode_node(Node(id="gw-1", address="h:1", zone="x" * (room + 1)))


def test_nodes_with_one_id_hash_alike() -> None:
    node = Node(id="gw-1", address="h:1", labels={"a": "b"})
    assert {node: 1}[node.replace()] == 1
    assert node.replace(weight=7) != node
    assert node.replace(weight=7).weight == 7


@given(st.integers(0, 2**53), TEXT)
def test_a_status_that_was_written_reads_back(sessions: int, text: str) -> None:
    status = NodeStatus(instance=text, sessions=sessions, at=text)
    assert decode_status(encode_status(status)) == status


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"active",
        b"\xff",
        b'{"sessions":-1}',
        b'{"x":' + b"[" * 8000 + b"]" * 8000 + b"}",
        b" " * MAX_RECORD_BYTES + b"{}",
    ],
    ids=lambda value: repr(value[:20]),
)
def test_bytes_that_are_no_status_tell_nothing(value: bytes) -> None:
    assert decode_status(value) is None


@given(st.binary(max_size=60))
def test_no_bytes_at_all_break_who_reads_a_status(value: bytes) -> None:
    status = decode_status(value)
    assert status is None or decode_status(encode_status(status)) == status
