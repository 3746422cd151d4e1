"""What each part of a fleet may do in etcd: the roles, and the keys that each of them needs. Pure.

etcd grants by key or by range of keys, to read, to write (delete included), or both. A transaction reads what it
compares; a put under a lease, and revoking one, need the right to write every key of that lease.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from clusterd.keys import Keyspace, range_end

ROOT = "root"
"""The user and the role that may do everything: etcd's own name for both."""

_TO_THE_END = b"\0"  # as a range_end: all keys from the first one on


class Access(enum.StrEnum):
    """What may be done with keys."""

    READ = "read"
    WRITE = "write"
    READWRITE = "readwrite"

    @classmethod
    def of(cls, parts: Iterable[Access]) -> Access:
        """Return the access that comes to these parts, one or both."""
        reading, *more = sorted(set(parts))
        return cls.READWRITE if more else reading

    @property
    def parts(self) -> frozenset[Access]:
        """The accesses that this one comes to: reading, writing."""
        return frozenset((Access.READ, Access.WRITE)) if self is Access.READWRITE else frozenset((self,))


@dataclass(frozen=True, slots=True)
class Right:
    """Access to one key, or to the range from `key` up to `range_end`; `why` is what it is needed for."""

    access: Access
    key: bytes
    range_end: bytes = b""
    why: str = field(default="", compare=False)

    @classmethod
    def below(cls, access: Access, prefix: bytes, why: str = "") -> Right:
        """Return the right to all keys that start with a prefix."""
        return cls(access, prefix, range_end(prefix), why)

    @property
    def is_prefix(self) -> bool:
        """Whether it is about all keys that start with `key`."""
        return bool(self.range_end) and self.range_end == range_end(self.key)


EVERYTHING = (Right(Access.READWRITE, b"\0", _TO_THE_END),)
"""What root may do."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role: its name in etcd, and what it may do; `about` says in a line whose it is."""

    name: str
    rights: tuple[Right, ...] = ()
    about: str = field(default="", compare=False)


def role_name(keyspace: Keyspace, kind: str) -> str:
    """Return a role's name in etcd, such as `clusterd/agent`.

    It holds the prefix of the keys: several fleets in one etcd have a role of each kind each.
    """
    return f"clusterd{keyspace.prefix}{kind}"


def agent_role(keyspace: Keyspace, *, elections: bool = True) -> Role:
    """The role that all agents of a fleet share: each could also write the others' registrations and figures."""
    own = (
        Right.below(Access.READWRITE, keyspace.nodes, "registrations, and the topology"),
        Right.below(Access.READWRITE, keyspace.status, "live figures"),
    )
    return Role(role_name(keyspace, "agent"), (*own, *_common(keyspace, elections)), "agents and sidecars, shared")


def member_role(keyspace: Keyspace, *, elections: bool = True) -> Role:
    """What every agent may do beside its own keys, where each has a role of its own as well (`node_role`)."""
    topology = Right.below(Access.READ, keyspace.nodes, "the topology")
    return Role(
        role_name(keyspace, "member"),
        (topology, *_common(keyspace, elections)),
        "agents and sidecars, beside their own",
    )


def node_role(keyspace: Keyspace, node_id: str) -> Role:
    """The role of one node: its own two keys, and nothing else. Raises `InvalidNodeId`."""
    own = (
        Right(Access.READWRITE, keyspace.node(node_id), why="its registration"),
        Right(Access.READWRITE, keyspace.node_status(node_id), why="its live figures"),
    )
    return Role(role_name(keyspace, f"node-{node_id}"), own, f"node {node_id} alone")


def operator_role(keyspace: Keyspace) -> Role:
    """Who inspects the fleet, cordons, drains and makes leaders resign; it can't write what nodes say of themselves."""
    rights = (
        Right.below(Access.READ, keyspace.nodes, "the fleet"),
        Right.below(Access.READ, keyspace.status, "sessions, and how drains go"),
        Right.below(Access.READWRITE, keyspace.intents, "cordon, drain, undrain"),
        Right.below(Access.READWRITE, keyspace.history, "history"),
        Right.below(Access.READ, keyspace.permits, "who drains"),
        Right.below(Access.READWRITE, keyspace.elections, "leader, leader --resign"),
        Right.below(Access.READ, keyspace.locks, "who holds what"),
        Right.below(Access.READWRITE, keyspace.probes, "doctor"),
    )
    return Role(role_name(keyspace, "operator"), rights, "operators")


def reader_role(keyspace: Keyspace) -> Role:
    """Who looks and changes nothing: dashboards, on-call."""
    rights = (
        Right.below(Access.READ, keyspace.nodes, "the fleet"),
        Right.below(Access.READ, keyspace.status, "sessions, and how drains go"),
        Right.below(Access.READ, keyspace.intents, "who asked for what"),
        Right.below(Access.READ, keyspace.history, "history"),
        Right.below(Access.READ, keyspace.permits, "who drains"),
        Right.below(Access.READ, keyspace.elections, "who leads"),
        Right.below(Access.READ, keyspace.locks, "who holds what"),
    )
    return Role(role_name(keyspace, "reader"), rights, "dashboards, and who only looks")


def missing(have: Iterable[Right], wanted: Iterable[Right]) -> Iterator[Right]:
    """Yield what is wanted and not had, each with the access that lacks.

    Rights add up as etcd adds them up: neighbouring ranges are one range.
    """
    held = list(have)
    for right in wanted:
        lacks = {part for part in right.access.parts if not _covered(right, held, part)}
        if lacks:
            yield Right(Access.of(lacks), right.key, right.range_end, right.why)


def _common(keyspace: Keyspace, elections: bool) -> tuple[Right, ...]:
    """What an agent needs whose keys can't be told from another agent's: they are named by leases, or by time."""
    offices = (
        Right.below(Access.READWRITE, keyspace.elections, "elections"),
        Right.below(Access.READWRITE, keyspace.locks, "locks"),
    )
    return (
        Right.below(Access.READ, keyspace.intents, "what operators want of it"),
        Right.below(Access.READWRITE, keyspace.permits, "permits to drain"),
        Right.below(Access.WRITE, keyspace.history, "history"),
        *(offices if elections else ()),
    )


def _covered(right: Right, held: Iterable[Right], part: Access) -> bool:
    reached, end = right.key, _end(right)
    for start, stop in sorted((each.key, _end(each) or b"") for each in held if part in each.access.parts):
        if start > reached:
            return False
        if stop == b"" or (end is not None and stop >= end):
            return True
        reached = max(reached, stop)
    return False


def _end(right: Right) -> bytes | None:
    """The first key after the range; None for a range without an end."""
    if not right.range_end:
        return right.key + b"\0"
    return None if right.range_end == _TO_THE_END else right.range_end
