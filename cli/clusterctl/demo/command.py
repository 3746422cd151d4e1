"""The command: plays the scenes, and says whether everything held."""

from __future__ import annotations

import asyncio
import signal
import time

import click

from clusterctl.demo import messages
from clusterctl.demo.narrator import Narrator
from clusterctl.demo.scenes import Observation
from clusterctl.demo.stage import Stage, open_stage
from clusterctl.demo.traffic import find_gateway
from clusterctl.options import Command, current_screen
from clusterd.errors import ClusterdError


@click.command(cls=Command)
def demo() -> int:
    """Play what clusterd does: a local etcd, five nodes, drains, a crash, a clean stop, a restart of etcd.

    In a checkout the nodes are message gateways (examples/gateway), and people write to each other through them all
    the while; at the end what was sent is compared with what came.

    Everything is real and on this host alone: processes, leases, watches. Takes less than a minute, and cleans up
    after itself. Exit code 0 when all was seen that should be, 1 when something was not.
    """
    narrator = Narrator(current_screen())
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as for Ctrl-C
    observations = asyncio.run(_play(narrator))
    narrator.summary(observations)
    failed = [observation for observation in observations if not observation.held]
    if failed:
        raise ClusterdError("; ".join(f"did not hold: {each.claim} ({each.seen})" for each in failed))
    return 0


async def _play(narrator: Narrator) -> list[Observation]:
    """Play all scenes up to the first in which something doesn't hold."""
    started = time.monotonic()
    checkout, reason = find_gateway()
    if checkout is None:
        narrator.tell(f"without traffic: {reason}")
    narrator.tell("a local etcd starts")
    async with open_stage(checkout) as stage:
        narrator.tell(f"  etcd process {stage.etcd.process.pid} at {stage.etcd.endpoint}")
        async with narrator.live(stage):
            observations = await _play_scenes(stage, narrator)
    narrator.tell(f"\nplayed in {time.monotonic() - started:.1f} s, {len(stage.changes)} changes of the topology seen")
    if stage.traffic:
        narrator.last_words = f"messages: {stage.traffic.figures}"
    return observations


async def _play_scenes(stage: Stage, narrator: Narrator) -> list[Observation]:
    observations: list[Observation] = []
    scenes = messages.of(stage.traffic)
    for number, scene in enumerate(scenes, start=1):
        narrator.tell(f"\n{number}/{len(scenes)} {scene.title}", "bold")
        seen = await scene.play(stage)
        for observation in seen:
            narrator.observed(observation)
        narrator.nodes(stage)
        observations += seen
        if not all(observation.held for observation in seen):
            break
    return observations
