"""A small fleet under faults of every kind, for a few seconds; for minutes: `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.fleet.run import describe, run
from tests.chaos.fleet.stage import Plan

SEEDS = (1,)
"""Schedules. A seed that found something in a long run is kept here."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_fleet_under_faults_has_a_good_history(tmp_path: Path, seed: int) -> None:
    plan = Plan(seed, groups=2, group=4, singles=2, ttl=3, seconds=6.0, round_seconds=6.0, patience=4.0)
    outcome = await run(plan, tmp_path)
    print(f"seed {seed}: {describe(outcome)}")
    assert outcome.problems == []
    assert outcome.faults.total() > 5
    assert {"topology", "begin", "landed", "intent"} <= outcome.records.keys()
