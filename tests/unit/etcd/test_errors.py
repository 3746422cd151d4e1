"""What etcd says, and what is done about it: one class for each kind of answer."""

from __future__ import annotations

import json
import types
from typing import Any

import pytest
from etcd3 import errors as etcd3_errors
from hypothesis import given
from hypothesis import strategies as st

from clusterd.errors import ClusterdError
from clusterd.etcd import errors
from clusterd.etcd.errors import (
    AuthChanged,
    AuthExpired,
    AuthNotEnabled,
    Compacted,
    EtcdError,
    LeaseExists,
    LeaseGone,
    LoginRefused,
    NoLogin,
    NoSpace,
    PermissionDenied,
    Refused,
    TlsFailed,
    Unavailable,
    WrongCluster,
    classify,
)
from clusterd.etcd.transport import Transport

SAID = [
    # message, gRPC code, HTTP status, class
    ("etcdserver: mvcc: required revision has been compacted", 11, 400, Compacted),
    ("etcdserver: mvcc: required revision is a future revision", 11, 400, Unavailable),
    ("etcdserver: requested lease not found", 5, 404, LeaseGone),
    ("lease not found", 2, 500, LeaseGone),
    ("etcdserver: lease already exists", 9, 400, LeaseExists),
    ("not a primary lessor", 2, 500, Unavailable),
    ("etcdserver: leader changed", 14, 503, Unavailable),
    ("etcdserver: no leader", 14, 503, Unavailable),
    ("rpc error: code = Unavailable desc = etcdserver: no leader", 0, 200, Unavailable),
    ("etcdserver: not leader", 9, 400, Unavailable),
    ("etcdserver: request timed out", 2, 500, Unavailable),  # 3.4
    ("etcdserver: request timed out", 4, 504, Unavailable),  # 3.5.30
    ("etcdserver: request timed out, possibly due to previous leader failure", 14, 503, Unavailable),
    ("etcdserver: request timed out, possibly due to connection lost", 14, 503, Unavailable),
    ("etcdserver: request timed out, waiting for the applied index took too long", 14, 503, Unavailable),
    ("context deadline exceeded", 2, 500, Unavailable),
    ("context canceled", 2, 500, Unavailable),
    ("context canceled", 1, 408, Unavailable),
    ("etcdserver: server stopped", 14, 503, Unavailable),
    ("etcdserver: unhealthy cluster", 14, 503, Unavailable),
    ("etcdserver: not capable", 14, 503, Unavailable),
    ("etcdserver: too many requests", 8, 429, Unavailable),
    ("etcdserver: rpc not supported for learner", 14, 503, Unavailable),
    ("etcdserver: rpc not supported for learner", 9, 400, Unavailable),  # newer ones
    ("etcdserver: not capable", 9, 400, Unavailable),
    ("etcdserver: request timed out", 14, 503, Unavailable),  # 3.4.23 and 3.5.1 without a quorum
    ("etcdserver: context deadline exceeded", 4, 504, Unavailable),
    ("etcdserver: request canceled", 1, 499, Unavailable),
    ("transport is closing", 14, 503, Unavailable),
    ('connection error: desc = "transport: Error while dialing dial tcp: connection refused"', 14, 503, Unavailable),
    ("etcdserver: mvcc: database space exceeded", 8, 429, NoSpace),
    ("etcdserver: authentication failed, invalid user ID or password", 3, 400, LoginRefused),
    ("etcdserver: authentication is not enabled", 9, 400, AuthNotEnabled),
    ("etcdserver: permission denied", 7, 403, PermissionDenied),
    ("rpc error: code = PermissionDenied desc = etcdserver: permission denied", 0, 200, PermissionDenied),
    ("etcdserver: invalid auth token", 16, 401, AuthExpired),
    ("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", 0, 200, AuthExpired),
    ("etcdserver: user name is empty", 3, 400, AuthExpired),
    ("etcdserver: revision of auth store is old", 3, 400, AuthChanged),  # seen from 3.4.23
    ("auth: revision in header is old", 2, 500, AuthChanged),  # seen from 3.5.1
    ("auth: authentication failed, password was given for no password user", 2, 500, LoginRefused),
    ("etcdserver: root user does not exist", 9, 400, Refused),
    ("etcdserver: role name already exists", 9, 400, Refused),
    # What etcd has no code for, and so sends as UNKNOWN: server/etcdserver/errors, server/lease/leasehttp/http.go
    ("etcdserver: request cancelled", 2, 500, Unavailable),
    ("etcdserver: request timed out, leader transfer took too long", 2, 500, Unavailable),
    ("waiting for node to catch up its applied index has timed out", 2, 500, Unavailable),
    ("lease: unknown error(not a primary lessor)", 2, 500, Unavailable),
    ("lease: renew id mismatch", 2, 500, Unavailable),
    ('Post "http://10.0.0.1:2380/leases": EOF', 2, 500, Unavailable),
    ("etcdserver: cluster version not found during downgrade", 9, 400, Refused),
    # gRPC's own, between the gateway and etcd
    ("stream terminated by RST_STREAM with error code: INTERNAL_ERROR", 13, 500, Unavailable),
    ("grpc: received message larger than max (5000000 vs. 2097152)", 8, 429, Refused),
    ("unknown service etcdserverpb.Nope", 12, 501, Refused),
    ("etcdserver: request is too large", 3, 400, Refused),
    ("etcdserver: key is not provided", 3, 400, Refused),
    ("etcdserver: too large lease TTL", 11, 400, Refused),
    ("etcdserver: corrupt cluster", 15, 500, Refused),
]


@pytest.mark.parametrize(("message", "code", "status", "kind"), SAID)
def test_what_etcd_says_has_its_class(message: str, code: int, status: int, kind: type[EtcdError]) -> None:
    error = classify(message, code, status, where="http://e:2379/kv/put")
    assert type(error) is kind
    assert str(error).startswith("http://e:2379/kv/put: ")
    assert isinstance(error.__cause__, etcd3_errors.Etcd3Exception)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (1, 408, Unavailable),
        (4, 504, Unavailable),
        (7, 403, PermissionDenied),
        (14, 503, Unavailable),
        (16, 401, AuthExpired),
        (0, 502, Unavailable),
        (0, 503, Unavailable),
        (2, 500, Unavailable),
        (13, 500, Unavailable),
        (3, 400, Refused),
        (8, 429, Refused),
        (9, 400, Refused),
        (15, 500, Refused),
        (5, 404, Refused),
        (12, 501, Refused),
        (-1, 400, Refused),
        (99, 400, Refused),
    ],
)
def test_what_nobody_knows_is_judged_by_its_codes(code: int, status: int, kind: type[EtcdError]) -> None:
    assert type(classify("something new", code, status, where="e")) is kind


@given(st.text(), st.integers(-(2**31), 2**31), st.integers(0, 999))
def test_any_answer_has_a_class(message: str, code: int, status: int) -> None:
    assert isinstance(classify(message, code, status, where="e"), EtcdError)


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("etcdserver: authentication failed, invalid user ID or password", "check the user name and the password"),
        ("etcdserver: permission denied", "grant the user's role"),
        ("etcdserver: mvcc: database space exceeded", "etcdctl alarm disarm"),
        ("etcdserver: user name is empty", "give a user and a password"),
    ],
)
def test_what_a_person_can_mend_says_how(message: str, advice: str) -> None:
    error = classify(message, 0, 400, where="http://e:2379/kv/put")
    assert advice in str(error)
    assert "etcdserver:" not in str(error)


def test_the_words_of_grpc_are_taken_off() -> None:
    error = classify("rpc error: code = Unavailable desc = etcdserver: no leader", 14, 503, where="e")
    assert str(error) == "e: no leader"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (EtcdError, 1),
        (Unavailable, 3),
        (TlsFailed, 3),
        (NoLogin, 3),
        (WrongCluster, 3),
        (Refused, 5),
        (LoginRefused, 5),
        (NoSpace, 5),
    ],
)
def test_each_class_has_its_exit_code(kind: type[EtcdError], code: int) -> None:
    assert kind.exit_code == code


def test_every_class_says_in_a_line_what_it_means() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ClusterdError)]
    assert all(kind.__doc__ and "\n" not in kind.__doc__ for kind in kinds)


# --- The two shapes in which the gateway wraps them, and what is no etcd at all ---


def answered(body: bytes, status: int) -> None:
    stand_in: Any = types.SimpleNamespace(endpoint="http://e:2379")
    Transport._raise_for(stand_in, "/kv/put", status, body)


@pytest.mark.parametrize(("message", "code", "status", "kind"), SAID)
def test_both_shapes_of_an_error_say_the_same(message: str, code: int, status: int, kind: type[EtcdError]) -> None:
    bodies: list[dict[str, Any]] = [
        {"error": message, "message": message, "code": code},
        {"error": message, "code": code},
        {"message": message, "code": code, "details": []},
        {"error": {"grpc_code": code, "http_code": status, "message": message, "http_status": "whatever"}},
        {"error": {"code": code, "http_code": status, "error": message}},
    ]
    for body in bodies:
        with pytest.raises(EtcdError) as caught:
            answered(json.dumps(body).encode(), max(status, 400))
        assert type(caught.value) is kind


def test_a_streaming_call_s_error_comes_with_status_200() -> None:
    with pytest.raises(LeaseGone):
        answered(b'{"error":{"grpc_code":5,"http_code":404,"message":"etcdserver: requested lease not found"}}', 200)


def test_an_answer_is_no_error() -> None:
    answered(b'{"header":{"revision":"7"}}', 200)


@pytest.mark.parametrize(
    "body", [b"<html><body><h1>502 Bad Gateway</h1></body></html>", b"", b"404 page not found\n", b"\xff\xfe"]
)
@pytest.mark.parametrize("status", [400, 404, 502])
def test_what_is_not_etcds_says_so_and_where(body: bytes, status: int) -> None:
    with pytest.raises(Unavailable, match=f"http://e:2379/kv/put: HTTP {status} from something that is not etcd"):
        answered(body, status)


def test_plain_http_at_a_tls_port_says_what_to_give() -> None:
    with pytest.raises(TlsFailed, match="give it as https://"):
        answered(b"Client sent an HTTP request to an HTTPS server.\n", 400)


@pytest.mark.parametrize("body", [b"{", b'{"error":[]}', b'{"error":{"code":"x"}}', b'{"code":{}}'])
def test_json_of_something_else_is_not_etcds(body: bytes) -> None:
    with pytest.raises(Unavailable, match="is this an etcd endpoint"):
        answered(body, 500)
