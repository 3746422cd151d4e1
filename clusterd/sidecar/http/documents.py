"""The documents of the control API, as docs/protocol.md and /v1/openapi.json describe them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from clusterd.node import MAX_WEIGHT, Node, NodeState
from clusterd.status import DrainProgress

MAX_KEYS = 10_000
MAX_ROUTE = 100

Count = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[float, Meta(gt=0, le=366 * 86400)]
Text = Annotated[str, Meta(max_length=1024)]


class NodeDocument(msgspec.Struct, frozen=True):
    """A node: its record, and what etcd knows beside it (`lease` in hex, null for none)."""

    id: str
    instance: str
    address: str
    state: NodeState
    weight: int
    zone: str
    labels: dict[str, str]
    endpoints: dict[str, str]
    started_at: str
    agent: str
    foreign: bool
    unconfirmed: bool
    lease: str | None
    mod_revision: int

    @classmethod
    def of(cls, node: Node) -> NodeDocument:
        """Return the document of a node."""
        return cls(
            id=node.id,
            instance=node.instance,
            address=node.address,
            state=node.state,
            weight=node.weight,
            zone=node.zone,
            labels=dict(node.labels),
            endpoints=dict(node.endpoints),
            started_at=node.started_at,
            agent=node.agent,
            foreign=node.foreign,
            unconfirmed=node.unconfirmed,
            lease=f"{node.lease:x}" if node.lease else None,
            mod_revision=node.mod_revision,
        )


class Target(msgspec.Struct, frozen=True):
    """A node as a place to send something to; `here` marks the one beside this daemon."""

    id: str
    address: str
    zone: str
    endpoints: dict[str, str]
    here: bool


class TopologyDocument(msgspec.Struct, frozen=True):
    """The topology's revision; `cluster` is the etcd cluster's id in hex, `stale` that etcd can't confirm it."""

    revision: int
    cluster: str
    stale: bool
    nodes: int


class SelfDocument(msgspec.Struct, frozen=True):
    """This node, and how it is doing.

    `session` is `connected`, `suspended` or `lost`; `lease_seconds` for how long the registration is certain without
    another renewal. `sessions` is null where nobody counts. `leads` has the elections led through this daemon.
    """

    node: NodeDocument
    session: Literal["connected", "suspended", "lost"]
    lease_seconds: float
    ready: bool
    sessions: int | None
    attached: int
    drain: DrainProgress | None
    leads: list[str]
    topology: TopologyDocument


class NodesDocument(msgspec.Struct, frozen=True):
    """Nodes at a revision, in the order of their ids."""

    revision: int
    cluster: str
    stale: bool
    nodes: list[NodeDocument]


class ChangeDocument(msgspec.Struct, frozen=True):
    """What turned one topology into the next: records that came or changed, and the ids that are gone."""

    revision: int
    cluster: str
    stale: bool
    joined: list[NodeDocument]
    updated: list[NodeDocument]
    left: list[str]


class RouteDocument(msgspec.Struct, frozen=True):
    """Where a key goes: `nodes` has its owner first, then the nodes to fall back on; none where nobody owns slots.

    `routed_at` is what to send along with a request that is forwarded.
    """

    key: str
    slot: int
    routed_at: str
    revision: int
    stale: bool
    owner: Target | None
    nodes: list[Target]


class RoutesDocument(msgspec.Struct, frozen=True):
    """Where many keys go: for each, in their order, the ids of its owner and fallbacks; `nodes` has each id once."""

    routed_at: str
    revision: int
    stale: bool
    routes: list[list[str]]
    nodes: dict[str, Target]


class RoutesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys to route."""

    keys: Annotated[list[str], Meta(max_length=MAX_KEYS)]
    n: Annotated[int, Meta(ge=1, le=MAX_ROUTE)] = 1
    zone: Text | None = None


class StatsDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many sessions the gateway has."""

    sessions: Count


class SelfRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be changed of this node's record; what is left out stays."""

    state: Literal["starting", "active", "cordoned"] | None = None
    weight: Annotated[int, Meta(ge=0, le=MAX_WEIGHT)] | None = None
    zone: Text | None = None
    labels: dict[str, str] | None = None
    endpoints: dict[str, str] | None = None


class DrainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How this node is to be drained: all in seconds, `rate` in sessions a second; not both `rate` and `over`."""

    deadline: Seconds = 30.0
    rate: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    over: Seconds | None = None
    settle: Annotated[float, Meta(ge=0, le=3600)] = 0.3
    reason: Text = "asked for over HTTP"


class DrainDocument(msgspec.Struct, frozen=True):
    """How the drain of this node goes, whoever asked for it; null while there is none."""

    drain: DrainProgress | None


class HolderDocument(msgspec.Struct, frozen=True):
    """Who leads: what it calls itself (its node id, as a rule), and its fence."""

    id: str
    fence: int


class LeaderDocument(msgspec.Struct, frozen=True):
    """Who leads an election: `here` if a candidate of this daemon does, with the seconds for which that is certain.

    `holder` is null while nobody leads, or etcd doesn't say: then `trouble` says why.
    """

    election: str
    here: bool
    holder: HolderDocument | None
    valid_seconds: float = 0.0
    trouble: str = ""


class CandidacyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to stand for election.

    `value` is what others see of the leader, the node id unless given. `ttl` is in seconds. With `alive` the gateway
    has to say so (PUT) at least every so many seconds, or it is taken for hung and the candidacy ends.
    """

    value: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    ttl: Annotated[int, Meta(ge=1, le=3600)] | None = None
    alive: Annotated[float, Meta(ge=1, le=3600)] | None = None


class AliveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That the candidate still stands; `value` changes what others see of the leader."""

    candidacy: Text
    value: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None


class TermDocument(msgspec.Struct, frozen=True):
    """A candidacy, and its term: the fence (null: not elected yet, or not any more), and how long it is certain.

    That is `valid_seconds` from when this was written, or until `valid_until` on this host's CLOCK_MONOTONIC (seconds).
    """

    election: str
    candidacy: str
    fence: int | None
    valid_seconds: float
    valid_until: float


class EvictionDocument(msgspec.Struct, frozen=True):
    """So many sessions are to be closed now: `close`, null for all. `left` is how many there are, as far as is known.

    After `seconds_left` (null: no hurry) the drain's deadline is there; `forced` says that it was.
    """

    close: int | None
    left: int | None
    forced: bool
    reason: str
    by: str
    intent: str
    deadline: str | None
    seconds_left: float | None


class HookDocument(msgspec.Struct, frozen=True):
    """What a hook of the gateway answers: how many sessions there are (`sessions`, or `left`); null: it doesn't say."""

    sessions: Count | None = None
    left: Count | None = None

    @property
    def count(self) -> int | None:
        """The number, by whichever name."""
        return self.left if self.sessions is None else self.sessions


def fields_given(request: SelfRequest) -> dict[str, Any]:
    """Return what a request wants changed."""
    given = msgspec.structs.asdict(request)
    return {name: value for name, value in given.items() if value is not None}
