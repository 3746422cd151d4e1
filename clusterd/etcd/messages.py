"""The answers of etcd's JSON gateway as typed records, decoded by msgspec.

The gateway writes 64-bit integers as strings, bytes in base64, and leaves out whatever is zero: every field has its
zero as default. https://etcd.io/docs/v3.5/dev-guide/apispec/swagger/rpc.swagger.json names the fields.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import msgspec

from clusterd.etcd.errors import Unavailable

T = TypeVar("T")


class Header(msgspec.Struct, frozen=True):
    """Who answered, and at which revision."""

    cluster_id: int = 0
    member_id: int = 0
    revision: int = 0
    raft_term: int = 0


_NO_HEADER = Header()


class KeyValue(msgspec.Struct, frozen=True):
    """A key with its value and the revisions that made it."""

    key: bytes = b""
    value: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    lease: int = 0


class Reply(msgspec.Struct, frozen=True):
    """What every answer has."""

    header: Header = _NO_HEADER


class RangeReply(Reply, frozen=True):
    """The keys of a range, in key order unless asked otherwise; `count` is of all that match, also beyond a limit."""

    kvs: tuple[KeyValue, ...] = ()
    count: int = 0


class DeleteReply(Reply, frozen=True):
    """How many keys were deleted."""

    deleted: int = 0


class TxnReply(Reply, frozen=True):
    """Whether the compares held, and the answers to the branch that ran."""

    succeeded: bool = False
    responses: tuple[OpReply, ...] = ()

    def found(self, index: int = 0) -> KeyValue | None:
        """Return the first key that the range at `index` of the branch found."""
        reply = self.responses[index].response_range
        return reply.kvs[0] if reply and reply.kvs else None


class OpReply(msgspec.Struct, frozen=True):
    """The answer to one operation of a transaction."""

    response_range: RangeReply | None = None
    response_put: Reply | None = None
    response_delete_range: DeleteReply | None = None
    response_txn: TxnReply | None = None


class LeaseReply(Reply, frozen=True):
    """A lease with its time to live in seconds; a TTL of 0 or below means that the lease is gone."""

    ID: int = 0
    TTL: int = 0
    grantedTTL: int = 0  # noqa: N815 - etcd's name for it
    keys: tuple[bytes, ...] = ()


class AuthReply(Reply, frozen=True):
    """A login's token."""

    token: str = ""


class Permission(msgspec.Struct, frozen=True):
    """What a role may do with a key, or with a range of keys."""

    permType: Literal["READ", "WRITE", "READWRITE"] = "READ"  # noqa: N815 - etcd's name for it
    key: bytes = b""
    range_end: bytes = b""


class RoleReply(Reply, frozen=True):
    """What a role may do."""

    perm: tuple[Permission, ...] = ()


class RolesReply(Reply, frozen=True):
    """The names of all roles, or of those that a user has."""

    roles: tuple[str, ...] = ()


class UsersReply(Reply, frozen=True):
    """The names of all users."""

    users: tuple[str, ...] = ()


class StatusReply(Reply, frozen=True):
    """One member's view of itself."""

    version: str = ""
    leader: int = 0
    raftTerm: int = 0  # noqa: N815 - etcd's name for it
    raftIndex: int = 0  # noqa: N815
    dbSize: int = 0  # noqa: N815
    dbSizeInUse: int = 0  # noqa: N815
    errors: tuple[str, ...] = ()
    isLearner: bool = False  # noqa: N815


class Member(msgspec.Struct, frozen=True):
    """A member of the etcd cluster."""

    ID: int = 0
    name: str = ""
    clientURLs: tuple[str, ...] = ()  # noqa: N815 - etcd's name for it
    isLearner: bool = False  # noqa: N815


class MembersReply(Reply, frozen=True):
    """All members of the etcd cluster."""

    members: tuple[Member, ...] = ()


class Alarm(msgspec.Struct, frozen=True):
    """An alarm that a member raised."""

    memberID: int = 0  # noqa: N815 - etcd's name for it
    alarm: str = "NONE"


class AlarmsReply(Reply, frozen=True):
    """All alarms that are raised."""

    alarms: tuple[Alarm, ...] = ()


class Event(msgspec.Struct, frozen=True):
    """One put or delete; a deleted key's value is empty, its `mod_revision` that of the delete."""

    kv: KeyValue = KeyValue()
    type: Literal["PUT", "DELETE"] = "PUT"


class WatchReply(Reply, frozen=True):
    """One message of a watch: created, cancelled, or a batch of events."""

    watch_id: int = 0
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    events: tuple[Event, ...] = ()


class ErrorBody(msgspec.Struct, frozen=True):
    """An error's details, in the words of any gateway version."""

    message: str = ""
    error: str = ""
    code: int = 0
    grpc_code: int = 0
    http_code: int = 0


class ErrorReply(msgspec.Struct, frozen=True):
    """An error in either of the gateway's two shapes: `{"error","message","code"}` or `{"error":{...}}`."""

    error: str | ErrorBody = ""
    message: str = ""
    code: int = 0

    @property
    def details(self) -> ErrorBody:
        """The error in one shape."""
        if isinstance(self.error, ErrorBody):
            return self.error
        return ErrorBody(message=self.message or self.error, code=self.code)


class Streamed(msgspec.Struct, Generic[T], frozen=True):
    """One message of a streaming call."""

    result: T | None = None
    error: ErrorBody | None = None


class Decoder(Generic[T]):
    """Decodes one kind of answer; a body that isn't that raises `Unavailable`: some other server speaks there."""

    def __init__(self, kind: Any) -> None:
        self._decode = msgspec.json.Decoder(kind, strict=False).decode

    def __call__(self, body: bytes, where: str) -> T:
        try:
            return self._decode(body)  # type: ignore[no-any-return]
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Unavailable(f"{where}: the answer is not etcd's ({error}): is this an etcd endpoint?") from error


decode_reply: Decoder[Reply] = Decoder(Reply)
decode_range: Decoder[RangeReply] = Decoder(RangeReply)
decode_delete: Decoder[DeleteReply] = Decoder(DeleteReply)
decode_txn: Decoder[TxnReply] = Decoder(TxnReply)
decode_lease: Decoder[LeaseReply] = Decoder(LeaseReply)
decode_keepalive: Decoder[Streamed[LeaseReply]] = Decoder(Streamed[LeaseReply])
decode_auth: Decoder[AuthReply] = Decoder(AuthReply)
decode_role: Decoder[RoleReply] = Decoder(RoleReply)
decode_roles: Decoder[RolesReply] = Decoder(RolesReply)
decode_users: Decoder[UsersReply] = Decoder(UsersReply)
decode_status: Decoder[StatusReply] = Decoder(StatusReply)
decode_members: Decoder[MembersReply] = Decoder(MembersReply)
decode_alarms: Decoder[AlarmsReply] = Decoder(AlarmsReply)
decode_watch: Decoder[Streamed[WatchReply]] = Decoder(Streamed[WatchReply])
decode_error: Decoder[ErrorReply] = Decoder(ErrorReply)
