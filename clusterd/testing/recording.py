"""A recorder of histories: what each agent saw and did, with times that all processes of one machine share.

Two agents' words are held against each other after the run: `disagreements` finds where they route differently.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from clusterd.agent import Agent
from clusterd.session import SessionState
from clusterd.topology import Topology

SAMPLE = tuple(f"key-{number}" for number in range(100))
"""The keys whose routes are compared."""


class Record(msgspec.Struct, frozen=True):
    """One line of a history: what happened (`kind`) to whom (`who`) `at` which second of CLOCK_MONOTONIC."""

    at: float
    kind: str
    who: str = ""
    facts: dict[str, Any] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class Recorder:
    """Keeps what happens in `records`, or appends it to the file `path`, a JSON document a line.

    A line is written whole, at once: what a process said before it was killed is there. Close it after use, or use it
    as a context manager. Routes are worked out for the topologies of which `routes(who, revision)` says so: in a large
    fleet that is most of the work, and a sample will do.
    """

    def __init__(self, path: Path | None = None, *, routes: Callable[[str, int], bool] = lambda *_: True) -> None:
        self.records: list[Record] = []
        self._file = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._routes = routes

    def note(self, kind: str, who: str = "", **facts: Any) -> Record:
        """Record that something happens now; `facts` are what JSON can hold."""
        record = Record(time.monotonic(), kind, who, facts)
        if self._file is None:
            self.records.append(record)
        else:
            os.write(self._file, _encode(record) + b"\n")
        return record

    def topology(self, who: str, topology: Topology) -> Record:
        """Record what a topology shows, and how it routes."""
        return self.note("topology", who, **account(topology, routes=self._routes(who, topology.revision)))

    async def follow(self, agent: Agent) -> None:
        """Record every topology and every state of the session of an agent, until it ends or this is cancelled."""
        async with asyncio.TaskGroup() as group:
            session = group.create_task(self._follow_session(agent), name=f"session of {agent.node.id}")
            changes = agent.changes()
            self.topology(agent.node.id, agent.topology)
            async for change in changes:
                self.topology(agent.node.id, change.after)
            session.cancel()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _follow_session(self, agent: Agent) -> None:
        state = None
        while True:
            state = await agent.session.wait_for(*(other for other in SessionState if other is not state))
            self.note("session", agent.node.id, state=state.value)


def read_history(*paths: Path) -> list[Record]:
    """Return what recorders wrote into these files, by time; a line that a killed process left half is passed over."""
    lines = (line for path in paths for line in path.read_bytes().split(b"\n"))
    return sorted(_whole(lines), key=lambda record: record.at)


def account(topology: Topology, *, routes: bool) -> dict[str, Any]:
    """Return what an agent says of its topology: digests, so that many can be kept and compared."""
    return {
        "cluster": topology.cluster_id,
        "revision": topology.revision,
        "stale": topology.stale,
        "nodes": list(topology.nodes),
        "unconfirmed": [node.id for node in topology if node.unconfirmed],
        "active": [node.id for node in topology.active],
        "content": digest_content(topology),
        "routes": digest_routes(topology) if routes else "",
    }


def digest_content(topology: Topology) -> str:
    """Return a digest of all that the topology holds of its nodes."""
    return _digest(f"{n.id} {n.instance} {n.state} {n.weight} {n.zone} {n.mod_revision}" for n in topology)


def digest_routes(topology: Topology, keys: Sequence[str] = SAMPLE, n: int = 3) -> str:
    """Return a digest of the routes of these keys, each of `n` nodes."""
    return _digest(" ".join(node.id for node in topology.route(key, n=n).nodes) for key in keys)


def disagreements(history: Iterable[Record]) -> list[str]:
    """Return where records of one revision of one etcd cluster hold different nodes or route differently.

    Left out are topologies with nodes kept `unconfirmed`: for one TTL after an outage agents may differ in those.
    """
    said: dict[tuple[int, int, str], dict[str, str]] = defaultdict(dict)
    for record in history:
        if record.kind == "topology" and not record.facts["unconfirmed"]:
            for aspect in ("content", "routes"):
                if digest := record.facts[aspect]:
                    place = (record.facts["cluster"], record.facts["revision"], aspect)
                    said[place].setdefault(digest, record.who)
    return [
        f"at revision {revision} of cluster {cluster:x} the {aspect} of {', '.join(digests.values())} differ"
        for (cluster, revision, aspect), digests in said.items()
        if len(digests) > 1
    ]


def _whole(lines: Iterable[bytes]) -> Iterator[Record]:
    for line in lines:
        try:
            yield _decode(line)
        except msgspec.DecodeError:
            continue


def _digest(parts: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
