"""A node's live figures, under `status/`: read by who asks, never watched by the fleet."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from clusterd.records import reader_or_none

# Whoever reads figures reckons with them: what no node can have is nothing that one says.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Phase(enum.StrEnum):
    """How far a drain is.

    `CORDONED`: out of the slots, or about to be; waits for that to be known, for the rest of its cohort, and for
    its permit. `DRAINING`: sessions are being moved. `DRAINED`: no session was seen for the settle time. `ABORTED`:
    given up, at the deadline or because the intent was withdrawn.
    """

    CORDONED = "cordoned"
    DRAINING = "draining"
    DRAINED = "drained"
    ABORTED = "aborted"


class DrainProgress(msgspec.Struct, frozen=True, kw_only=True):
    """One drain as its node sees it.

    `intent` is the id of the intent (empty for a shutdown's). `at_start` and `left` count sessions, None where nobody
    counts them; `moved` is how many are gone since the start, `rate` how many went a second of late, averaged.
    `since` and `deadline` are RFC 3339. `blocked_by` says what it waits for, empty while nothing is in the way;
    `stalled` that nothing has moved for a while.
    """

    intent: str = ""
    phase: Phase = Phase.CORDONED
    at_start: Count | None = None
    left: Count | None = None
    moved: Count = 0
    rate: Rate = 0.0
    since: str = ""
    deadline: str | None = None
    blocked_by: str = ""
    waits_for_permit: bool = False
    stalled: bool = False
    forced: bool = False
    kept: bool = False
    aborted: bool = False


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON document under `status/<id>`: the node's figures by its own count at `at` (RFC 3339).

    `sessions` is how many it holds, None where nobody counts; `drain` how its drain goes, if there is one.
    """

    v: int = 1
    instance: str = ""
    sessions: Count | None = 0
    at: str = ""
    drain: DrainProgress | None = None


_encode = msgspec.json.Encoder().encode
_read = reader_or_none(NodeStatus)


def encode_status(status: NodeStatus) -> bytes:
    """Return the document to be written."""
    return _encode(status)


def decode_status(value: bytes) -> NodeStatus | None:
    """Return the figures, or None where the value isn't such a document."""
    return _read(value)
