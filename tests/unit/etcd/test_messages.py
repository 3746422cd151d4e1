"""The gateway's JSON: 64-bit numbers as strings, bytes in base64, zeros left out."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clusterd.etcd.errors import Unavailable
from clusterd.etcd.messages import (
    ErrorBody,
    Event,
    Header,
    KeyValue,
    decode_alarms,
    decode_error,
    decode_keepalive,
    decode_lease,
    decode_members,
    decode_range,
    decode_status,
    decode_txn,
    decode_watch,
)

NUMBERS = st.integers(0, 2**63 - 1)
KVS = st.builds(
    KeyValue,
    key=st.binary(max_size=20),
    value=st.binary(max_size=20),
    create_revision=NUMBERS,
    mod_revision=NUMBERS,
    version=NUMBERS,
    lease=NUMBERS,
)
HEADERS = st.builds(
    Header,
    cluster_id=st.integers(0, 2**64 - 1),
    member_id=st.integers(0, 2**64 - 1),
    revision=NUMBERS,
    raft_term=NUMBERS,
)


def said(record: Any) -> dict[str, Any]:
    """Write a record as the gateway does."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
        for name, value in fields.items()
        if value
    }


@given(st.lists(KVS, max_size=3), HEADERS, st.sampled_from([str, int]))
def test_a_range_reads_as_it_was_written(kvs: list[KeyValue], header: Header, number: type) -> None:
    body = {"header": said(header), "kvs": [said(kv) for kv in kvs], "count": number(len(kvs))}
    reply = decode_range(json.dumps(body).encode(), "e")
    assert (reply.header, reply.kvs, reply.count) == (header, tuple(kvs), len(kvs))


def test_an_empty_range_leaves_everything_out() -> None:
    reply = decode_range(b'{"header":{"revision":"7"}}', "e")
    assert (reply.kvs, reply.count, reply.header.revision, reply.header.cluster_id) == ((), 0, 7, 0)


def test_a_lease_that_is_gone_has_no_ttl_or_one_below_zero() -> None:
    gone = decode_keepalive(b'{"result":{"header":{},"ID":"7"}}', "e").result
    assert gone is not None
    assert gone.TTL == 0
    assert decode_lease(b'{"ID":"7","TTL":"-1"}', "e").TTL == -1
    assert decode_lease(b'{"ID":"7","TTL":"9","grantedTTL":"10","keys":["YQ=="]}', "e").keys == (b"a",)


def test_an_event_without_a_type_is_a_put() -> None:
    body = (
        b'{"result":{"header":{"revision":"9"},"events":[{"kv":{"key":"YQ=="}},{"type":"DELETE","kv":{"key":"YQ=="}}]}}'
    )
    reply = decode_watch(body, "e").result
    assert reply is not None
    assert reply.events == (Event(KeyValue(key=b"a")), Event(KeyValue(key=b"a"), type="DELETE"))


def test_a_refused_watch_is_created_and_cancelled() -> None:
    body = (
        b'{"result":{"created":true,"canceled":true,"watch_id":"-1","cancel_reason":"etcdserver: permission denied"}}'
    )
    reply = decode_watch(body, "e").result
    assert reply is not None
    assert (reply.created, reply.canceled, reply.watch_id) == (True, True, -1)
    assert reply.cancel_reason == "etcdserver: permission denied"


def test_a_compacted_watch_names_the_revision() -> None:
    reply = decode_watch(b'{"result":{"canceled":true,"compact_revision":"57"}}', "e").result
    assert reply is not None
    assert reply.compact_revision == 57


def test_a_stream_can_end_with_an_error() -> None:
    message = decode_watch(b'{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}}', "e")
    assert message.result is None
    assert message.error == ErrorBody(message="etcdserver: no leader", grpc_code=14, http_code=503)


def test_a_transaction_gives_what_it_found() -> None:
    body = b'{"responses":[{"response_put":{}},{"response_range":{"kvs":[{"key":"YQ=="}],"count":"1"}}]}'
    reply = decode_txn(body, "e")
    assert not reply.succeeded
    assert reply.found(0) is None
    assert reply.found(1) == KeyValue(key=b"a")
    assert decode_txn(b'{"responses":[{"response_range":{}}]}', "e").found() is None


def test_a_member_s_status_and_the_cluster_s_members_and_alarms_read() -> None:
    status = decode_status(
        b'{"version":"3.5.30","dbSize":"20480","leader":"7","raftTerm":"2","errors":["NOSPACE"]}', "e"
    )
    assert (status.version, status.dbSize, status.leader, status.isLearner) == ("3.5.30", 20480, 7, False)
    members = decode_members(b'{"members":[{"ID":"7","name":"a","clientURLs":["http://a:2379"]}]}', "e").members
    assert (members[0].name, members[0].clientURLs) == ("a", ("http://a:2379",))
    assert decode_alarms(b'{"alarms":[{"memberID":"7","alarm":"NOSPACE"}]}', "e").alarms[0].alarm == "NOSPACE"
    assert decode_alarms(b"{}", "e").alarms == ()


def test_fields_of_a_newer_etcd_are_passed_over() -> None:
    assert decode_range(b'{"more":true,"kvs":[{"key":"YQ==","colour":"blue"}]}', "e").kvs == (KeyValue(key=b"a"),)


@pytest.mark.parametrize(
    ("body", "details"),
    [
        (b'{"error":"x","message":"x","code":5}', ErrorBody(message="x", code=5)),
        (b'{"error":"x","code":5}', ErrorBody(message="x", code=5)),
        (b'{"message":"x","code":5,"details":[]}', ErrorBody(message="x", code=5)),
        (b'{"error":{"message":"x","grpc_code":5}}', ErrorBody(message="x", grpc_code=5)),
        (b"{}", ErrorBody()),
    ],
)
def test_an_error_has_one_shape_afterwards(body: bytes, details: ErrorBody) -> None:
    assert decode_error(body, "e").details == details


@given(st.binary(max_size=40))
@example(b"<html></html>")
@example(b"[]")
@example(b'{"kvs":[{"key":"not base64"}]}')
@example(b'{"header":{"revision":"seven"}}')
@example(b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}")
def test_no_answer_raises_anything_else_than_unavailable(body: bytes) -> None:
    for decode in (decode_range, decode_watch, decode_error):
        with contextlib.suppress(Unavailable):
            decode(body, "http://e:2379/kv/range")


def test_what_is_no_answer_of_etcd_is_told_with_where_it_came_from() -> None:
    with pytest.raises(Unavailable) as caught:
        decode_range(b"<html>" + b"x" * 10_000, "http://e:2379/kv/range")
    assert str(caught.value).startswith("http://e:2379/kv/range: the answer is not etcd's")
    assert len(str(caught.value)) < 300
