"""Where clusterd keeps things in etcd, and what it makes of keys that others put there."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clusterd.errors import InvalidNodeId, UsageError
from clusterd.keys import NODE_ID, Keyspace, check_node_id, range_end


@pytest.mark.parametrize("node_id", ["a", "0", "gw-1", "gw_1.eu-west", "A" * 128])
def test_usable_node_ids_are_taken(node_id: str) -> None:
    assert check_node_id(node_id) == node_id


@pytest.mark.parametrize("node_id", ["", "-a", ".", "_", "a/b", "a b", "ä", "a\n", "A" * 129, "１"])
def test_a_node_may_not_be_called_anything_else(node_id: str) -> None:
    with pytest.raises(InvalidNodeId, match="is not usable") as caught:
        check_node_id(node_id)
    assert repr(node_id) in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("prefix", ["/", "/fleet/", "/a/b/", "//"])
def test_a_fleet_can_live_under_any_prefix(prefix: str) -> None:
    assert Keyspace(prefix).node("gw-1") == f"{prefix}nodes/gw-1".encode()
    assert Keyspace(prefix).node_status("gw-1") == f"{prefix}status/gw-1".encode()
    assert Keyspace(prefix).probe("x") == f"{prefix}doctor/x".encode()


@pytest.mark.parametrize("prefix", ["", "fleet", "/fleet", "fleet/", "/a b/", "/ä/", "/\n/", "/" + "x" * 300 + "/"])
def test_a_prefix_that_would_mix_fleets_up_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match=r"prefix .* is not usable"):
        Keyspace(prefix)


def test_a_key_is_never_made_of_an_unusable_id() -> None:
    with pytest.raises(InvalidNodeId):
        Keyspace().node("../intents/gw-1")
    with pytest.raises(InvalidNodeId):
        Keyspace().node_status("")


@given(st.from_regex(NODE_ID, fullmatch=True))
def test_a_node_is_shown_under_the_id_that_it_registered(node_id: str) -> None:
    space = Keyspace("/fleet/")
    assert space.node_id(space.node(node_id)) == node_id


@given(st.binary(max_size=40))
@example(b"\x1b[2J")
@example("naïve/node".encode())
def test_any_key_under_nodes_can_be_shown_on_one_line(name: bytes) -> None:
    shown = Keyspace().node_id(b"/nodes/" + name)
    assert shown.isprintable()
    shown.encode()  # no lone surrogates


@given(*[st.lists(st.sampled_from([b"\\", b"x", b"f", b"\xff", b"\n", b"0", b"\xc2\x85", b"\x85"])).map(b"".join)] * 2)
@example(b"\xff", b"\\xff")
@example(b"\x85", "\x85".encode())
@example(b"\\\\", b"\\")
@example(b"\n", b"\\n")
def test_two_keys_never_show_as_one_node(one: bytes, other: bytes) -> None:
    space = Keyspace()
    assert (space.node_id(b"/nodes/" + one) == space.node_id(b"/nodes/" + other)) == (one == other)


@given(st.binary(min_size=1, max_size=6), st.binary(max_size=8))
@example(b"\xff\xff", b"")
@example(b"a\xff", b"b")
def test_a_range_holds_exactly_the_keys_with_its_prefix(prefix: bytes, key: bytes) -> None:
    end = range_end(prefix)

    def selected(candidate: bytes) -> bool:
        return candidate >= prefix and (end == b"\0" or candidate < end)  # etcd: up to \0 means to the end of all keys

    assert selected(prefix + key)
    assert selected(key) == key.startswith(prefix)
