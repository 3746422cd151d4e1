"""The command: plays the scenes, and says whether everything held."""

from __future__ import annotations

import asyncio
import signal
import time

import click

from clusterctl.demo.narrator import Narrator
from clusterctl.demo.scenes import SCENES, Observation
from clusterctl.demo.stage import Stage, open_stage
from clusterctl.options import Command, current_screen
from clusterd.errors import ClusterdError


@click.command(cls=Command)
def demo() -> int:
    """Play what clusterd does: a local etcd, five nodes, a crash, a clean stop, a restart of etcd.

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
    narrator.tell("a local etcd starts")
    async with open_stage() as stage:
        narrator.tell(f"  etcd process {stage.etcd.process.pid} at {stage.etcd.endpoint}")
        async with narrator.live(stage):
            observations = await _play_scenes(stage, narrator)
    narrator.tell(f"\nplayed in {time.monotonic() - started:.1f} s, {len(stage.changes)} changes of the topology seen")
    return observations


async def _play_scenes(stage: Stage, narrator: Narrator) -> list[Observation]:
    observations: list[Observation] = []
    for number, scene in enumerate(SCENES, start=1):
        narrator.tell(f"\n{number}/{len(SCENES)} {scene.title}", "bold")
        seen = await scene.play(stage)
        for observation in seen:
            narrator.observed(observation)
        narrator.nodes(stage)
        observations += seen
        if not all(observation.held for observation in seen):
            break
    return observations
