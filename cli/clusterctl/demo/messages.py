"""The scenes with traffic: people write to each other through the nodes all the while, and all of it is counted."""

from __future__ import annotations

import asyncio
import time

from clusterctl.demo import scenes
from clusterctl.demo.scenes import KILLED, NODES, STOPPED, Observation, Scene, in_time
from clusterctl.demo.stage import Stage
from clusterctl.demo.traffic import PEOPLE, Traffic
from clusterctl.durations import brief

_FLOW_SECONDS = 20.0
_SOME = 100


async def come_in(stage: Stage) -> list[Observation]:
    """People connect at all nodes, and write to each other from now on."""
    traffic = stage.need_traffic()
    await traffic.start(stage.gateways.urls)
    seconds = await traffic.more(_SOME, _FLOW_SECONDS)
    return [in_time(f"{PEOPLE} people write to each other", seconds, f"for the first {_SOME} messages")]


async def roll(stage: Stage) -> list[Observation]:
    """Each node is drained, and taken back before the next one: clients move, mailboxes change their owner."""
    traffic, started = stage.need_traffic(), time.monotonic()
    before = traffic.figures.reconnected
    drains = [await scenes.drain_once(stage, f"gw-{number}") for number in range(1, NODES + 1)]
    whole = all(None not in (drained.cordoned, drained.drained, drained.back) for drained in drains)
    flows = await traffic.more(_SOME, _FLOW_SECONDS)
    moved, took = traffic.figures.reconnected - before, brief(time.monotonic() - started)
    free = not any(drained.owned for drained in drains)
    return [
        Observation("each node is drained, and taken back", whole, f"all {NODES} in {took}"),
        Observation("none owned a slot then", free, "every key had another owner" if free else "one still owned some"),
        Observation("its clients go on elsewhere", moved >= PEOPLE, f"{moved} connections moved"),
        _goes_on(flows),
    ]


async def crash(stage: Stage) -> list[Observation]:
    """A node dies under load: what it had not handed on waits in its log, the rest goes on without it."""
    seen = await scenes.crash(stage)
    return [*seen, _goes_on(await stage.need_traffic().more(_SOME, _FLOW_SECONDS))]


async def leave(stage: Stage) -> list[Observation]:
    """A node is stopped: it sends its clients elsewhere, hands its mailboxes over, and gives its lease back."""
    name = f"gw-{STOPPED}"
    codes, seconds = await scenes.stop(stage, [name], lambda topology: name not in topology, _FLOW_SECONDS)
    return [
        in_time(f"{name} hands over and is gone", seconds, "after SIGTERM"),
        scenes.ended_cleanly("its process ends cleanly", codes),
    ]


async def restart_etcd(stage: Stage) -> list[Observation]:
    """etcd goes away and comes back: the last topology serves on, and so messages flow."""
    traffic = stage.need_traffic()
    watching = asyncio.create_task(traffic.more(_SOME, _FLOW_SECONDS), name="clusterctl demo's ear")
    try:
        seen = await scenes.restart_etcd(stage)
        return [*seen, _goes_on(await watching)]
    finally:
        watching.cancel()


async def balance(stage: Stage) -> list[Observation]:
    """Everybody stops writing, and the ledger is closed."""
    figures = await stage.need_traffic().finish()
    return [Observation("every message came, once", figures.balanced, str(figures))]


SCENES = (
    Scene(f"{NODES} message gateways start (examples/gateway), each a process of its own", scenes.join),
    Scene(f"{PEOPLE} people connect, and write to each other from now on", come_in),
    Scene("a rolling drain: each node in turn, while they write", roll),
    Scene(f"gw-{KILLED} is killed (SIGKILL): only its lease can tell", crash),
    Scene(f"gw-{STOPPED} is stopped (SIGTERM): it hands over, and gives its lease back", leave),
    Scene("etcd is restarted under the running fleet", restart_etcd),
    Scene(f"gw-{KILLED} starts again, with what its log still has", scenes.come_back),
    Scene("they stop writing, and what was said is compared with what came", balance),
    Scene("the rest is stopped", scenes.close),
)


def _goes_on(seconds: float | None) -> Observation:
    return in_time("they write on", seconds, f"for {_SOME} more messages")


def of(traffic: Traffic | None) -> tuple[Scene, ...]:
    """Return the scenes to play, with traffic or without."""
    return SCENES if traffic else scenes.SCENES
