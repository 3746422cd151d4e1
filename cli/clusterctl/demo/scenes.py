"""The scenes of the demo: each does something to the fleet, and says what must be seen of it.

A further capability is a further scene in `SCENES`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from clusterctl.demo.stage import TTL, Stage
from clusterctl.durations import brief
from clusterd.drain import make_drain
from clusterd.drain.operator import place_intents, whoami, withdraw_intent
from clusterd.keys import Keyspace
from clusterd.node import NodeState
from clusterd.topology import Topology

NODES = 5
_START_SECONDS = 20.0
_PAUSE_BETWEEN_STARTS = 0.2
# etcd looks for lapsed leases twice a second, and deletes their keys through raft.
_LAPSE_MARGIN = 2.0
_AT_ONCE = 1.5
KILLED, STOPPED = 2, 4
_DRAINED = 3
_SETTLE = 0.2


@dataclass(frozen=True, slots=True)
class Observation:
    """What was expected, whether it held, and what was seen of it."""

    claim: str
    held: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What is done, in words for the audience, and how; playing it returns what was observed."""

    title: str
    play: Callable[[Stage], Awaitable[list[Observation]]]


async def join(stage: Stage) -> list[Observation]:
    """Nodes start one after the other, and appear in the topology."""
    for number in range(1, NODES + 1):
        await stage.gateways.start(number)
        await asyncio.sleep(_PAUSE_BETWEEN_STARTS)
    seconds = await stage.until(lambda topology: len(topology.active) == NODES, _START_SECONDS)
    return [in_time(f"{NODES} nodes join, and are active", seconds, "after the last was started")]


@dataclass(frozen=True, slots=True)
class Drained:
    """How a drain went: seconds until the node was cordoned, drained and taken back (None: it wasn't in time)."""

    cordoned: float | None
    drained: float | None
    owned: bool
    back: float | None


async def drain_once(stage: Stage, name: str) -> Drained:
    """Have a node drained by an intent, as an operator does, and take it back."""
    keyspace = Keyspace()
    intent = make_drain(by=whoami(), reason="demo", settle=_SETTLE, now=datetime.now(UTC))
    (view,) = await place_intents(stage.client, keyspace, {name: intent})
    cordoned = await stage.until(lambda topology: _state(topology, name) is not NodeState.ACTIVE, TTL)
    drained = await stage.until(lambda topology: _state(topology, name) is NodeState.DRAINED, _START_SECONDS)
    owned = name in stage.topology.shares()
    await withdraw_intent(stage.client, keyspace, view)
    back = await stage.until(lambda topology: _state(topology, name) is NodeState.ACTIVE, TTL)
    return Drained(cordoned, drained, owned, back)


async def drain(stage: Stage) -> list[Observation]:
    """A node is drained, and taken back: it leaves the slots first, and owns some again after."""
    name = f"gw-{_DRAINED}"
    seen = await drain_once(stage, name)
    owns = "still owns some" if seen.owned else "every key has another owner"
    return [
        in_time(f"{name} leaves the slots at once", seen.cordoned, "after it was asked"),
        in_time(f"{name} is drained", seen.drained, f"later, {_SETTLE:g} s of them without a session"),
        Observation("it owns no slot then", not seen.owned, owns),
        in_time(f"{name} is taken back", seen.back, "after the drain was withdrawn"),
    ]


async def crash(stage: Stage) -> list[Observation]:
    """A node dies without a word: its lease lapses, and only then is it counted out."""
    name, others = f"gw-{KILLED}", NODES - 1
    stage.gateways[name].send_signal(signal.SIGKILL)
    seconds = await stage.until(lambda topology: name not in topology, TTL + _LAPSE_MARGIN)
    return [
        in_time(f"{name} is counted out when its lease lapses", seconds, f"after the kill, TTL {TTL} s"),
        Observation("the others stay", len(stage.topology) == others, _there(stage)),
    ]


async def leave(stage: Stage) -> list[Observation]:
    """A node is stopped: it gives its lease back, and the fleet knows at once."""
    name = f"gw-{STOPPED}"
    codes, seconds = await stop(stage, [name], lambda topology: name not in topology)
    return [
        in_time(f"{name} is gone at once", seconds, "after SIGTERM", most=_AT_ONCE),
        ended_cleanly("its process ends cleanly", codes),
    ]


async def restart_etcd(stage: Stage) -> list[Observation]:
    """etcd goes away and comes back under everybody: nobody must disappear, not even for a moment."""
    before, started = stage.topology, time.monotonic()
    await stage.etcd.restart()
    outage = time.monotonic() - started
    reply = await stage.client.range(b"/", limit=1)
    await stage.mirror.wait_for(reply.header.revision)
    await asyncio.sleep(TTL + _LAPSE_MARGIN - 1)  # whoever failed to renew would lapse in this time
    after, left = stage.topology, stage.left_since(started)
    return [
        Observation("nobody disappears", not left, ", ".join(left) or f"no node left; etcd was away {brief(outage)}"),
        Observation("the same nodes are there", after.nodes.keys() == before.nodes.keys(), _there(stage)),
        Observation(
            "the topology goes on where it was",
            after.revision >= before.revision and after.cluster_id == before.cluster_id and not after.stale,
            f"revision {before.revision} before, {after.revision} after" + (", stale" if after.stale else ""),
        ),
    ]


async def come_back(stage: Stage) -> list[Observation]:
    """The node that died starts again: the restarted etcd takes registrations, and every watch still delivers."""
    before = stage.topology.revision
    name = await stage.gateways.start(KILLED)
    seconds = await stage.until(lambda topology: name in topology, _START_SECONDS)
    return [
        in_time(f"{name} is back", seconds, "after its start"),
        Observation("the revision rose", stage.topology.revision > before, f"{before} to {stage.topology.revision}"),
    ]


async def close(stage: Stage) -> list[Observation]:
    """Everybody stops."""
    codes, seconds = await stop(stage, stage.gateways.running, lambda topology: not len(topology), _START_SECONDS)
    return [
        in_time("the fleet is empty", seconds, "after SIGTERM to all"),
        ended_cleanly("all processes end cleanly", codes),
    ]


SCENES = (
    Scene(f"{NODES} gateway nodes start, each a process of its own", join),
    Scene(f"gw-{_DRAINED} is drained, and taken back", drain),
    Scene(f"gw-{KILLED} is killed (SIGKILL): only its lease can tell", crash),
    Scene(f"gw-{STOPPED} is stopped (SIGTERM): it gives its lease back", leave),
    Scene("etcd is restarted under the running fleet", restart_etcd),
    Scene(f"gw-{KILLED} starts again", come_back),
    Scene("the rest is stopped", close),
)


def in_time(claim: str, seconds: float | None, since: str, most: float | None = None) -> Observation:
    """Return an observation of something that took `seconds` (None: it didn't happen), of at most `most`."""
    if seconds is None:
        return Observation(claim, held=False, seen="did not happen in time")
    return Observation(claim, most is None or seconds <= most, f"{brief(seconds)} {since}")


async def stop(
    stage: Stage, names: list[str], seen: Callable[[Topology], bool], seconds: float = TTL
) -> tuple[list[int], float | None]:
    """Stop nodes; return their exit codes, and after how many seconds the topology was as wanted."""
    watching = asyncio.create_task(stage.until(seen, seconds), name="clusterctl demo's eye")
    codes = await stage.gateways.stop(names)
    return codes, await watching


def ended_cleanly(claim: str, codes: list[int]) -> Observation:
    """Return an observation of processes that should have ended with code 0."""
    named = ", ".join(map(str, codes))
    return Observation(claim, not any(codes), f"exit code{'s' if len(codes) > 1 else ''} {named}")


def _state(topology: Topology, name: str) -> NodeState | None:
    node = topology.nodes.get(name)
    return node.state if node else None


def _there(stage: Stage) -> str:
    return ", ".join(stage.topology.nodes)
