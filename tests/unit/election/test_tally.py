"""Terms of office, counted by name."""

from __future__ import annotations

import time
from typing import Any

from clusterd.election.loss import Loss
from clusterd.election.tally import OTHERS, Tally


class Held:
    """A term, as far as a tally looks at it."""

    def __init__(self, name: str, seconds: float = 60.0) -> None:
        self.name = name
        self.lost = Loss(name, time.monotonic() + seconds)


def begin(tally: Tally, name: str, **options: Any) -> Any:
    return tally.holding(Held(name, **options))  # type: ignore[arg-type]


def test_a_term_is_held_until_its_body_ends() -> None:
    tally = Tally()
    with begin(tally, "a"):
        assert list(tally.held) == ["a"]
    assert not tally.held
    assert tally.terms == {"a": 1}


def test_a_term_whose_time_is_up_is_not_held_though_its_body_goes_on() -> None:
    tally = Tally()
    with begin(tally, "a", seconds=-1.0):
        assert not tally.held


def test_names_without_end_are_counted_together() -> None:
    tally = Tally()
    for number in range(150):
        with begin(tally, f"e{number}"):
            pass
    assert len(tally.terms) == 101
    assert tally.terms[OTHERS] == 50
