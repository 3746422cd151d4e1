"""What one agent routes by, revision by revision. Also runs as a process: a node that writes a line for each."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import signal
import sys
from typing import NamedTuple

from clusterd import Agent, Topology

KEYS = [f"user-{number}" for number in range(200)]


class Line(NamedTuple):
    """The digest of all that a topology decides; `confirmed`: it holds no node that etcd may have lost by itself."""

    cluster_id: int
    revision: int
    confirmed: bool
    digest: str

    @classmethod
    def of(cls, topology: Topology) -> Line:
        """Return the line for a topology."""
        confirmed = not any(node.unconfirmed for node in topology)
        return cls(topology.cluster_id, topology.revision, confirmed, digest(topology))


def digest(topology: Topology) -> str:
    """Return a digest of the owners of all slots, and of the routes of the keys."""
    owners = topology.table.get().owners_of(range(topology.slots))  # type: ignore[arg-type]
    routes = (node for key in KEYS for node in topology.route(key, n=3).nodes)
    told = "\n".join("" if node is None else node.id for node in (*owners, *routes))
    return hashlib.sha256(told.encode()).hexdigest()


def write(topology: Topology) -> None:
    """Write the line for a topology."""
    sys.stdout.write(json.dumps(Line.of(topology)) + "\n")
    sys.stdout.flush()


async def run(node: str, etcd: str, ttl: int) -> None:
    """Be a node, and write a line for each topology, until SIGTERM."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with Agent(node, "10.0.0.1:8080", etcd=etcd, ttl=ttl, zone=node[-1]) as agent, asyncio.TaskGroup() as tasks:
        recording = tasks.create_task(record(agent), name="record")
        await stopping.wait()
        recording.cancel()


async def record(agent: Agent) -> None:
    """Write a line for each topology that the agent has from now on."""
    changes = agent.changes()
    write(agent.topology)
    async for change in changes:
        write(change.after)


def main() -> None:
    """Run as the node that the command line tells."""
    parser = argparse.ArgumentParser()
    parser.add_argument("node")
    parser.add_argument("etcd")
    parser.add_argument("ttl", type=int)
    asyncio.run(run(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
