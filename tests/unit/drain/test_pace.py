"""The pace of a drain, by simulation: the clock is a number, timers are late at random, handlers take time."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterd.drain.pace import Pacer


def simulate(rate: float, seconds: float, seed: int, lateness: float = 0.01) -> list[tuple[float, int]]:
    """Return when how many moved, if whoever asks is up to `lateness` seconds late each time."""
    rng = random.Random(seed)
    pacer, now, moves = Pacer(rate, 100.0, rng.random), 100.0, []
    while now < 100.0 + seconds:
        if count := pacer.take(now):
            moves.append((now, count))
        now = max(now, pacer.due) + rng.random() * lateness
    return moves


@pytest.mark.parametrize("rate", [1, 2.5, 10, 49, 51, 100, 333, 1000, 2500, 5000])
@pytest.mark.parametrize("lateness", [0.0, 0.01, 0.1])
def test_the_measured_rate_is_the_asked_one(rate: float, lateness: float) -> None:
    seconds = max(10.0, 40 / rate)
    moved = sum(count for _, count in simulate(rate, seconds, seed=1, lateness=lateness))
    assert moved == pytest.approx(rate * seconds, rel=0.1)


@given(st.floats(1, 5000), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_no_second_holds_a_burst(rate: float, seed: int) -> None:
    moves = simulate(rate, 10.0, seed)
    for second in range(1, 9):
        moved = sum(count for at, count in moves if second <= at - 100.0 < second + 1)
        assert abs(moved - rate) <= max(2.0, 0.1 * rate)


def test_moves_are_not_evenly_spaced() -> None:
    times = [at for at, _ in simulate(10, 20, seed=3, lateness=0.0)]
    gaps = {round(after - before, 3) for before, after in pairwise(times)}
    assert len(gaps) > len(times) / 2


@pytest.mark.parametrize("rate", [1, 10, 1000, 5000])
def test_a_pause_of_the_process_is_not_made_up_for(rate: float) -> None:
    rng = random.Random(5)
    pacer = Pacer(rate, 0.0, rng.random)
    pacer.take(pacer.due)
    assert pacer.take(60.0) <= max(2, rate * 0.3)
    after = 0
    now = pacer.due
    while now < 62.0:
        after += pacer.take(now)
        now = max(now, pacer.due)
    assert after <= 2 * rate + 2


def test_nothing_may_move_before_it_is_due() -> None:
    pacer = Pacer(10, 0.0, lambda: 0.5)
    assert pacer.take(pacer.due - 0.001) == 0
    assert pacer.take(pacer.due) == 1
    assert pacer.take(pacer.due - 0.001) == 0
