"""The checker of election histories finds what must not happen, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.history import EXPIRED, History, Landed, Tenure, TermSpan, Write


def good() -> History:
    """Two terms, one after the other; the last write of the first one was refused, one of the second got no answer."""
    return History(
        terms=[TermSpan("a", 10, 1.0, 2.0), TermSpan("b", 12, 2.1, 3.0)],
        writes=[Write("a1", 10, "landed"), Write("a2", 10, "refused"), Write("b1", 12, "unknown")],
        tenures=[Tenure(10, deleted=20), Tenure(12)],
        landed=[Landed("a1", 10, 15), Landed("b1", 12, 25)],
    )


def test_a_good_history_has_no_problems() -> None:
    assert good().problems() == []
    assert good().margins() == [pytest.approx(0.1)]


def test_the_margin_of_an_expiry_is_measured_only_where_nobody_resigned() -> None:
    history = good()
    assert history.expiry_margins() == []
    history.terms[0] = replace(history.terms[0], reason=EXPIRED)
    assert history.expiry_margins() == [pytest.approx(0.1)]
    history.tenures[0] = replace(history.tenures[0], resigned=True)
    assert history.expiry_margins() == []


def test_a_write_without_an_answer_may_be_there_or_not() -> None:
    history = good()
    history.landed.pop()
    assert history.problems() == []


def test_terms_that_overlap_are_found() -> None:
    history = good()
    history.terms[1] = replace(history.terms[1], begin=1.9)
    assert "overlap by 0.100 s" in " ".join(history.problems())


def test_a_term_within_a_long_one_is_found_also_when_it_is_not_the_next() -> None:
    history = good()
    history.terms = [TermSpan("a", 10, 1.0, 9.0), TermSpan("b", 12, 2.0, 3.0), TermSpan("c", 14, 4.0, 5.0)]
    assert sum("overlap" in problem for problem in history.problems()) == 2


def test_a_fence_that_falls_is_found() -> None:
    history = good()
    history.terms[1] = replace(history.terms[1], fence=9)
    assert "the fence fell from 10 to 9" in history.problems()


def test_a_fence_that_is_used_twice_is_found() -> None:
    history = good()
    history.terms[1] = replace(history.terms[1], fence=10)
    assert "the fence fell from 10 to 10" in history.problems()


def test_a_write_of_a_deposed_leader_is_found() -> None:
    history = good()
    history.landed.append(Landed("a3", 10, 22))
    assert "out of office" in " ".join(history.problems())


def test_a_late_write_after_the_successors_first_is_found() -> None:
    history = good()
    history.landed.append(Landed("a3", 10, 26))
    assert "a write with fence 10 followed one with 12" in " ".join(history.problems())


def test_a_write_before_the_writers_turn_is_found() -> None:
    history = good()
    history.landed.append(Landed("b0", 12, 18))
    assert "before its writer's turn" in " ".join(history.problems())


def test_a_write_with_a_fence_of_nobody_is_found() -> None:
    history = good()
    history.landed.append(Landed("x", 99, 120))
    assert "a fence that nobody ever had" in " ".join(history.problems())


def test_a_confirmed_write_that_is_missing_is_found() -> None:
    history = good()
    history.landed.pop(0)
    assert "was confirmed, and is not there" in " ".join(history.problems())


def test_a_refused_write_that_is_there_is_found() -> None:
    history = good()
    history.landed.append(Landed("a2", 10, 16))
    assert "was refused, and is there" in " ".join(history.problems())
