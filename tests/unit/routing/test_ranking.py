"""The permutations are permutations, the scores are those of exponential waiting times, and all of it is exact."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.node import MAX_WEIGHT
from clusterd.routing.ranking import WAIT_BITS, Ranking, ranking
from tests.unit.routing import routing_reference as reference

hashes = st.integers(0, 2**64 - 1)
SMALL = Ranking(10)


@pytest.mark.parametrize("bits", [1, 2, 9, 10, 18])
@given(hash_=hashes)
def test_ranks_are_a_permutation_and_slots_at_is_its_inverse(bits: int, hash_: int) -> None:
    found = Ranking(bits) if bits < 18 else ranking()
    column = found.keys(np.array([hash_], np.uint64))
    slots = np.arange(found.slots)
    ranks = found.ranks(slots, column)
    assert np.array_equal(np.bincount(ranks), np.ones(found.slots))
    assert np.array_equal(found.slots_at(ranks, column), slots)


def test_waits_are_the_harmonic_sums_rounded_down() -> None:
    exact = Fraction(0)
    for rank, score in enumerate(SMALL.scores(np.arange(SMALL.slots), np.int64(1)).tolist()):
        term = Fraction(2**WAIT_BITS, SMALL.slots - rank)
        assert 0 <= exact + term / 2 - Fraction(score, 2**20) < rank + 1.5
        exact += term


def test_waits_are_those_of_an_exponential_distribution() -> None:
    """Then a node's chance to be the first at a slot is its share of all weight."""
    slots = ranking().slots
    ranks = np.arange(0, slots * 99 // 100, 1000)
    waits = ranking().scores(ranks, np.int64(1 << 20)) / 2**WAIT_BITS
    expected = [-math.log1p(-(rank + 0.5) / slots) for rank in ranks.tolist()]
    assert waits == pytest.approx(expected, rel=1e-4)


@given(st.integers(0, 2**60), st.integers(1, MAX_WEIGHT))
def test_ranks_within_counts_the_ranks_of_at_most_that_score(score: int, weight: int) -> None:
    scores = SMALL.scores(np.arange(SMALL.slots), np.int64(weight))
    assert SMALL.ranks_within(score, weight) == np.count_nonzero(scores <= score)


def test_the_scores_of_the_heaviest_and_the_lightest_node_fit_their_type() -> None:
    last = np.array([ranking().slots - 1])
    heaviest, lightest = (ranking().scores(last, np.int64(weight))[0] for weight in (MAX_WEIGHT, 1))
    assert 0 < heaviest < lightest < 2**63
    assert lightest == reference.waits()[-1] << 20
