"""A ledger says what was lost, what came twice, and what came to somebody else."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from examples.gateway.ledger import Ledger

READERS = ["ann", "bob", "cid"]
entries = st.tuples(st.sampled_from(READERS), st.sampled_from(["1", "2", "3"]))


@given(st.dictionaries(st.sampled_from(["1", "2", "3"]), st.sets(st.sampled_from(READERS))), st.lists(entries))
def test_every_delivery_is_counted_as_what_it_is(said: dict[str, set[str]], came: list[tuple[str, str]]) -> None:
    ledger = Ledger()
    for text, readers in said.items():
        ledger.say(text, sorted(readers))
    for reader, text in came:
        ledger.hear(reader, text)
    meant = {(reader, text) for text, readers in said.items() for reader in readers}
    assert set(ledger.lost) == meant - set(came)
    assert ledger.delivered == len(meant & set(came))
    assert set(ledger.misdelivered) == set(came) - meant
    assert len(ledger.duplicated) == len([each for each in came if each in meant]) - ledger.delivered


def test_figures_name_what_is_wrong() -> None:
    ledger = Ledger()
    ledger.say("1", ["ann", "bob"])
    for reader in ("ann", "ann", "cid"):
        ledger.hear(reader, "1")
    wanted: dict[str, Any] = {"sent": 1, "stored": 0, "delivered": 1, "lost": 1, "duplicated": 1, "misdelivered": 1}
    assert ledger.figures() == wanted
