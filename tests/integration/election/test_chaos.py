"""A contended election while everything breaks, for a few seconds; for longer: `python -m tests.chaos.elections`."""

from __future__ import annotations

import random

import pytest

from clusterd.testing import EtcdBinary
from tests.chaos.elections import Rules, contend, describe


@pytest.mark.timeout(120)
async def test_a_contended_election_has_a_good_history(etcd_binary: EtcdBinary) -> None:
    seed = random.randrange(2**32)
    history, faults = await contend(Rules(seconds=8.0, seed=seed), etcd_binary)
    print(f"seed {seed}: {describe(history, faults)}")
    assert history.problems() == [], f"seed {seed}"
    assert len(history.terms) > 2
    assert history.landed
