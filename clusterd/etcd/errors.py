"""What etcd and the way to it can answer, classified once: the class of an error says what its catcher does.

| class | what is done about it |
|---|---|
| `Unavailable` | the next endpoint, then again with full jitter until the deadline |
| `AuthExpired` | log in again, once, then repeat the call; `AuthChanged` until it holds |
| `Compacted` | list again |
| `LeaseGone` | grant a new lease, register again |
| `Refused` and below | tell the user; retrying alone does not help |
"""

from __future__ import annotations

import re

from etcd3 import errors as etcd3_errors

from clusterd.errors import ClusterdError


class EtcdError(ClusterdError):
    """Any failure of a call to etcd."""


class Unavailable(EtcdError):
    """No usable answer: nobody there, too late, no leader, or an answer that isn't etcd's."""

    exit_code = 3


class TlsFailed(Unavailable):
    """The endpoint's certificate, or ours, was not accepted."""


class NoLogin(Unavailable):
    """No login that holds could be had yet: no fault of the endpoint that the call was for."""


class WrongCluster(Unavailable):
    """The endpoint belongs to another etcd cluster than the one known so far."""

    def __init__(self, message: str, cluster_id: int) -> None:
        super().__init__(message)
        self.cluster_id = cluster_id


class AuthExpired(EtcdError):
    """The token is not, or no longer, valid: a login mends it."""

    exit_code = 5


class AuthChanged(AuthExpired):
    """Users or roles were changed while the call was under way: a login mends it, or doing it once more."""


class Compacted(EtcdError):
    """The revisions asked for are compacted away."""


class LeaseGone(EtcdError):
    """The lease does not exist: it expired or was revoked."""


class LeaseExists(EtcdError):
    """A lease of that id exists already."""


class Refused(EtcdError):
    """etcd refused the call, and will refuse it again."""

    exit_code = 5


class LoginRefused(Refused):
    """User or password are wrong, or missing."""


class AuthNotEnabled(Refused):
    """A login at an etcd that does not ask for one."""


class PermissionDenied(Refused):
    """The user may not read or write these keys."""


class NoSpace(Refused):
    """etcd is over its quota: it takes no writes, though keepalives go on."""


_CLASSES: dict[type[etcd3_errors.Etcd3Exception], type[EtcdError]] = {
    etcd3_errors.ErrCompacted: Compacted,
    etcd3_errors.ErrLeaseNotFound: LeaseGone,
    etcd3_errors.ErrLeaseExist: LeaseExists,
    etcd3_errors.ErrNoSpace: NoSpace,
    etcd3_errors.ErrAuthFailed: LoginRefused,
    etcd3_errors.ErrAuthNotEnabled: AuthNotEnabled,
    etcd3_errors.ErrPermissionDenied: PermissionDenied,
    etcd3_errors.ErrInvalidAuthToken: AuthExpired,
    etcd3_errors.ErrUserEmpty: AuthExpired,
    etcd3_errors.ErrNoLeader: Unavailable,
    etcd3_errors.ErrNotLeader: Unavailable,
    etcd3_errors.ErrNotCapable: Unavailable,
    etcd3_errors.ErrStopped: Unavailable,
    etcd3_errors.ErrTimeout: Unavailable,
    etcd3_errors.ErrTimeoutDueToLeaderFail: Unavailable,
    etcd3_errors.ErrTimeoutDueToConnectionLost: Unavailable,
    etcd3_errors.ErrUnhealthy: Unavailable,
    etcd3_errors.ErrTooManyRequests: Unavailable,
    etcd3_errors.ErrFutureRev: Unavailable,
}

# Messages that etcd3-py has no class for: newer etcds say them, or the gateway in front of etcd.
_PHRASES: tuple[tuple[str, type[EtcdError]], ...] = (
    ("revision of auth store is old", AuthChanged),
    ("auth: revision in header is old", AuthChanged),  # the same from etcd 3.5.1, which has no code for it
    ("invalid auth token", AuthExpired),
    ("user name is empty", AuthExpired),
    ("authentication failed", LoginRefused),
    ("permission denied", PermissionDenied),
    ("required revision has been compacted", Compacted),
    ("database space exceeded", NoSpace),
    ("lease not found", LeaseGone),
    ("not a primary lessor", Unavailable),
    ("leader changed", Unavailable),
    ("no leader", Unavailable),
    ("request timed out", Unavailable),
    ("context deadline exceeded", Unavailable),
    ("context canceled", Unavailable),
    ("request cancelled", Unavailable),
    ("not supported for learner", Unavailable),
    ("transport is closing", Unavailable),
    ("connection refused", Unavailable),
    ("server is being stopped", Unavailable),
)

_LONGEST = 1000  # characters: whoever says more is no etcd, and a log is not the place for it
_WRAPPING = re.compile(r"^rpc error: code = \w+ desc = ")

# gRPC status codes (github.com/grpc/grpc/blob/master/doc/statuscodes.md), where neither table above knows the message.
# etcd has a code for whatever it refuses; UNKNOWN is any other error inside it (server/etcdserver/api/v3rpc/util.go,
# togRPCError), such as a follower that can't forward a renewal, and INTERNAL comes from gRPC itself, between the
# gateway and etcd. Neither says anything of the request: another member, or the same one a moment later, may do it.
_CODES: dict[int, type[EtcdError]] = {
    1: Unavailable,  # CANCELLED: the server hung up on the call
    2: Unavailable,  # UNKNOWN
    4: Unavailable,  # DEADLINE_EXCEEDED
    7: PermissionDenied,
    13: Unavailable,  # INTERNAL
    14: Unavailable,
    16: AuthExpired,
}

_ADVICE: dict[type[EtcdError], str] = {
    LoginRefused: "check the user name and the password",
    PermissionDenied: "grant the user's role access to these keys",
    NoSpace: "compact and defragment etcd, or raise --quota-backend-bytes, then `etcdctl alarm disarm`",
    AuthExpired: "etcd asks for a login: give a user and a password",
}


def classify(message: str, code: int, status: int, *, where: str) -> EtcdError:
    """Return the error for etcd's answer: its message, gRPC code and HTTP status; `where` names endpoint and call.

    The cause is etcd3-py's own typed error.
    """
    message = _WRAPPING.sub("", message)[:_LONGEST]
    typed = etcd3_errors.get_client_error(message, min(max(code, 0), 16), status)
    kind = _CLASSES.get(type(typed)) or _by_phrase(message) or _by_code(code, status)
    error = kind(f"{where}: {message.removeprefix('etcdserver: ')}" + (f": {_ADVICE[kind]}" if kind in _ADVICE else ""))
    error.__cause__ = typed
    return error


def _by_phrase(message: str) -> type[EtcdError] | None:
    return next((kind for phrase, kind in _PHRASES if phrase in message), None)


def _by_code(code: int, status: int) -> type[EtcdError]:
    if status in (502, 503, 504):
        return Unavailable
    return _CODES.get(code, Refused)
