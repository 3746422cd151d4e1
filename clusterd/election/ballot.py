"""The keys of an office, and who they say stands for it: the format of etcd's own recipes, with no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from clusterd.etcd.messages import KeyValue
from clusterd.etcd.ops import range_request
from clusterd.keys import Keyspace, range_end


@dataclass(frozen=True, slots=True)
class Candidate:
    """One who stands for an office, or holds it.

    `id` is what it calls itself: its proposal as text, which is the node id for an agent that proposed nothing else.
    `value` is the proposal itself, `fence` the create revision of the key (the fencing token of the term it has, or
    will have), `lease` the id of the lease that the key is bound to.
    """

    id: str
    value: bytes
    fence: int
    lease: int
    key: bytes

    @classmethod
    def of(cls, kv: KeyValue) -> Candidate:
        """Return the candidate whom a key stands for."""
        return cls(kv.value.decode(errors="backslashreplace"), kv.value, kv.create_revision, kv.lease, kv.key)


@dataclass(frozen=True, slots=True)
class Office:
    """What is held by one at a time: an election's leadership, or a lock.

    `key` is the office's own key. The keys of the candidates are below it, each with the candidate's lease id in hex
    without leading zeros; the one with the lowest create revision holds the office. The own key is not among them: a
    leader who resigns leaves the fence of the term that is over there, bound to its lease.
    """

    title: str
    key: bytes

    @classmethod
    def of_election(cls, keyspace: Keyspace, name: str) -> Office:
        """Return the office that an election is about. Raises `InvalidOfficeName`."""
        return cls(f"election {name!r}", keyspace.election(name))

    @classmethod
    def of_lock(cls, keyspace: Keyspace, name: str) -> Office:
        """Return the office that a lock is. Raises `InvalidOfficeName`."""
        return cls(f"lock {name!r}", keyspace.lock(name))

    def __str__(self) -> str:
        return self.title

    @property
    def prefix(self) -> bytes:
        """What the candidates' keys start with."""
        return self.key + b"/"

    @property
    def range_end(self) -> bytes:
        """The end of the range of the candidates' keys."""
        return range_end(self.prefix)

    def candidate(self, lease: int) -> bytes:
        """The key of the candidate that has this lease."""
        return self.prefix + f"{lease:x}".encode()

    def holder(self) -> dict[str, Any]:
        """The range of the candidate who has been there for longest."""
        return range_request(self.prefix, self.range_end, sort_target="CREATE", sort_order="ASCEND", limit=1)

    def last_before(self, revision: int) -> dict[str, Any]:
        """The range of the last of the candidates who came before `revision`."""
        return range_request(
            self.prefix,
            self.range_end,
            max_create_revision=revision - 1,
            sort_target="CREATE",
            sort_order="DESCEND",
            limit=1,
        )


def in_order(kvs: Iterable[KeyValue]) -> tuple[Candidate, ...]:
    """Return the candidates in the order of their turns; the first one holds the office."""
    return tuple(sorted(map(Candidate.of, kvs), key=lambda candidate: candidate.fence))
