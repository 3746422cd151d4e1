"""An intent: what an operator wants of a node, under `intents/`. Pure; times come in as arguments."""

from __future__ import annotations

import enum
import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from clusterd.drain.limits import Limit
from clusterd.errors import UsageError
from clusterd.node import NodeState
from clusterd.records import MAX_RECORD_BYTES, reader

INTENT_VERSION = 1
MAX_REASON = 1024
DEFAULT_SETTLE = 10.0
MAX_SECONDS = 366 * 86400.0


class IntentKind(enum.StrEnum):
    """What is wanted: to keep the node out of the slots, or to move its sessions elsewhere as well."""

    CORDON = "cordon"
    DRAIN = "drain"


class OnDeadline(enum.StrEnum):
    """What happens to the sessions that are left at the deadline.

    `FORCE`: they are moved at once, whatever the pace. `KEEP`: they stay until they end by themselves, and no more are
    moved. `ABORT`: the drain ends, and the node is what it was before.
    """

    FORCE = "force"
    KEEP = "keep"
    ABORT = "abort"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON document under `intents/<id>` (docs/protocol.md); fields that a later version adds are passed over.

    `id` names this intent for as long as it is in force, however its terms are changed. `at` and `deadline` are RFC
    3339. The pace is `rate` in sessions a second, or `over` in seconds for all; with neither, as fast as the gateway
    goes. `settle` is the seconds between leaving the slots and the first move, and for which there must be no sessions
    at the end. `max_unavailable` and `min_active` are limits like `1` or `25%`. `cohort` is shared by the nodes drained
    together, `cohort_size` in number; `order` is a node's turn among them, from 0, and the first one is `placing` until
    all of them are placed. `was` is the state before, `active` or `cordoned`, which an abort restores. `traceparent`
    makes the drain a part of its operator's trace (https://www.w3.org/TR/trace-context/).
    """

    id: str
    kind: IntentKind
    v: int = INTENT_VERSION
    by: str = ""
    reason: str = ""
    at: str = ""
    deadline: str | None = None
    on_deadline: OnDeadline = OnDeadline.KEEP
    rate: float | None = None
    over: float | None = None
    settle: float = DEFAULT_SETTLE
    max_unavailable: str | None = None
    min_active: str | None = None
    cohort: str = ""
    cohort_size: int = 1
    order: int = 0
    placing: bool = False
    was: NodeState = NodeState.ACTIVE
    traceparent: str = ""

    @property
    def drains(self) -> bool:
        """Whether sessions are to be moved."""
        return self.kind is IntentKind.DRAIN

    @property
    def deadline_at(self) -> datetime | None:
        """The deadline as a moment, None if there is none."""
        return parse_time(self.deadline, "deadline") if self.deadline is not None else None

    @property
    def most_unavailable(self) -> Limit | None:
        """The limit on how many nodes drain at once."""
        return _limit(self.max_unavailable, "max_unavailable")

    @property
    def least_active(self) -> Limit | None:
        """The limit on how few nodes stay active."""
        return _limit(self.min_active, "min_active")

    def changed(self, **terms: Any) -> Intent:
        """Return the same intent with other terms: its id, start and author stay; `deadline_from` makes a deadline.

        Raises `UsageError` for what can't be changed, or can't be used.
        """
        fixed = terms.keys() - _TERMS
        if fixed:
            raise UsageError(f"{', '.join(sorted(fixed))} of an intent can't be changed: place a new one")
        if terms.get("rate") is not None:
            terms.setdefault("over", None)
        elif terms.get("over") is not None:
            terms.setdefault("rate", None)
        return check_intent(msgspec.structs.replace(self, **terms))


_TERMS = {"deadline", "on_deadline", "rate", "over", "settle", "max_unavailable", "min_active", "reason"}
_encode = msgspec.json.Encoder().encode
_read = reader(Intent)


def make_cordon(*, by: str, reason: str = "", now: datetime) -> Intent:
    """Return the intent to keep a node out of the slots. Raises `UsageError`."""
    return check_intent(Intent(id=uuid.uuid4().hex, kind=IntentKind.CORDON, by=by, reason=reason, at=format_time(now)))


def make_drain(
    *,
    by: str,
    now: datetime,
    reason: str = "",
    deadline: float | None = None,
    cohort: str | None = None,
    **terms: Any,
) -> Intent:
    """Return the intent to drain a node, `deadline` in seconds from `now`; `terms` are other fields of `Intent`.

    For several nodes give each its own, with the same `cohort`, their number as `cohort_size`, and their turn as
    `order`. Raises `UsageError`.
    """
    return check_intent(
        Intent(
            id=uuid.uuid4().hex,
            kind=IntentKind.DRAIN,
            by=by,
            reason=reason,
            at=format_time(now),
            deadline=None if deadline is None else deadline_from(now, deadline),
            cohort=cohort or uuid.uuid4().hex,
            **terms,
        )
    )


def deadline_from(now: datetime, seconds: float) -> str:
    """Return the deadline so many seconds from `now`. Raises `UsageError` where that is the past, or never."""
    _check_seconds("deadline", seconds, above=0.0)
    return format_time(now + timedelta(seconds=seconds))


def check_intent(intent: Intent) -> Intent:
    """Return the intent if it may be written, or raise `UsageError` saying what is wrong with it."""
    if not intent.id or intent.v != INTENT_VERSION:
        raise UsageError("an intent needs an id, and this version of the record")
    if len(intent.reason) > MAX_REASON or len(intent.by) > MAX_REASON:
        raise UsageError(f"the reason is longer than the {MAX_REASON} characters allowed")
    if intent.was not in (NodeState.ACTIVE, NodeState.CORDONED):
        raise UsageError(f"the state before, {intent.was}, is not one that can be restored")
    if intent.cohort_size < 1:
        raise UsageError(f"cohort_size {intent.cohort_size} is out of range: give 1 or more")
    if intent.order < 0:
        raise UsageError(f"order {intent.order} is out of range: give 0 or more")
    parse_time(intent.at, "at")
    _check_terms(intent)
    return intent


def encode_intent(intent: Intent) -> bytes:
    """Return the document to be written. Raises `UsageError` where it may not be: every reader must read it back."""
    check_intent(intent)
    try:
        value = _encode(intent)
        if len(value) <= MAX_RECORD_BYTES:
            _read(value)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise UsageError(f"the intent can't be written: {error}") from error
    if len(value) > MAX_RECORD_BYTES:
        raise UsageError(f"the intent has {len(value)} bytes, more than the {MAX_RECORD_BYTES} allowed")
    return value


def decode_intent(value: bytes) -> Intent | None:
    """Return the intent, or None where the value isn't one that can be followed."""
    try:
        return check_intent(_read(value))
    except ValueError:
        return None


def format_time(moment: datetime) -> str:
    """Return an aware moment in RFC 3339, in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def parse_time(text: str, name: str) -> datetime:
    """Return the moment that an RFC 3339 text means; raises `UsageError` naming the field."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"{name} {text!r} is not a moment: give it like 2026-01-31T12:00:00+00:00")


def _check_terms(intent: Intent) -> None:
    if intent.rate is not None and intent.over is not None:
        raise UsageError("rate and over contradict each other: give one of them")
    if intent.rate is not None and not 0 < intent.rate <= 1e6:
        raise UsageError(f"rate {intent.rate:g} is out of range: give a number of sessions a second above 0")
    if intent.over is not None:
        _check_seconds("over", intent.over, above=0.0)
    if not (0 <= intent.settle <= MAX_SECONDS):
        raise UsageError(f"settle {intent.settle:g} is out of range: give a number of seconds, 0 or more")
    if intent.deadline is not None:
        parse_time(intent.deadline, "deadline")
    _limit(intent.max_unavailable, "max_unavailable")
    _limit(intent.min_active, "min_active")


def _check_seconds(name: str, seconds: float, *, above: float) -> None:
    if math.isnan(seconds) or not above < seconds <= MAX_SECONDS:
        raise UsageError(
            f"{name} {seconds:g} is out of range: give a number of seconds above {above:g}, at most a year"
        )


def _limit(text: str | None, name: str) -> Limit | None:
    return None if text is None else Limit.parse(text, name)
