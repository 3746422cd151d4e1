"""What operators may ask for, how it is written, and that nothing else is taken for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.drain.intent import (
    Intent,
    IntentKind,
    OnDeadline,
    decode_intent,
    encode_intent,
    make_cordon,
    make_drain,
    parse_time,
)
from clusterd.drain.limits import Limit
from clusterd.errors import UsageError
from clusterd.node import NodeState

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def drain(**terms: Any) -> Intent:
    return make_drain(by="ann@ops", now=NOW, **terms)


def test_a_drain_is_written_whole_and_read_back() -> None:
    intent = drain(
        reason="kernel",
        deadline=600,
        on_deadline=OnDeadline.FORCE,
        rate=500.0,
        max_unavailable="25%",
        min_active="2",
        cohort="c" * 32,
        cohort_size=3,
        was=NodeState.CORDONED,
    )
    assert decode_intent(encode_intent(intent)) == intent
    assert intent.deadline_at == datetime(2026, 1, 31, 12, 10, tzinfo=UTC)
    assert (intent.most_unavailable, intent.least_active) == (Limit(25, percent=True), Limit(2))


def test_a_cordon_moves_nobody() -> None:
    intent = make_cordon(by="ann@ops", now=NOW, reason="odd noises")
    assert decode_intent(encode_intent(intent)) == intent
    assert (intent.kind, intent.drains) == (IntentKind.CORDON, False)


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"rate": 5.0, "over": 60.0}, "contradict"),
        ({"rate": -1.0}, "rate -1"),
        ({"rate": 0.0}, "rate 0"),
        ({"rate": float("nan")}, "rate nan"),
        ({"over": 0.0}, "over 0"),
        ({"settle": -1.0}, "settle -1"),
        ({"deadline": -5.0}, "deadline -5"),
        ({"deadline": float("inf")}, "deadline inf"),
        ({"max_unavailable": "many"}, "max_unavailable 'many'"),
        ({"max_unavailable": "0"}, "max_unavailable '0'"),
        ({"min_active": "101%"}, "min_active '101%'"),
        ({"cohort_size": 0}, "cohort_size 0"),
        ({"was": NodeState.DRAINED}, "the state before"),
        ({"reason": "x" * 2000}, "the reason is longer"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(terms: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        drain(**terms)


def test_a_change_keeps_who_when_and_which() -> None:
    intent = drain(rate=100.0)
    changed = intent.changed(over=60.0, reason="faster")
    assert (changed.id, changed.at, changed.by) == (intent.id, intent.at, intent.by)
    assert (changed.rate, changed.over, changed.reason) == (None, 60.0, "faster")
    with pytest.raises(UsageError, match="at, id of an intent can't be changed"):
        intent.changed(id="other", at="now")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_intent_or_nothing(value: bytes) -> None:
    assert decode_intent(value) is None or isinstance(decode_intent(value), Intent)


@pytest.mark.parametrize(
    "changes",
    [{"v": 2}, {"id": ""}, {"at": "yesterday"}, {"deadline": "soon"}, {"max_unavailable": "-1"}, {"rate": -3}],
)
def test_an_intent_that_could_not_have_been_written_is_passed_over(changes: dict[str, Any]) -> None:
    document = msgspec.json.decode(encode_intent(drain())) | changes
    assert decode_intent(msgspec.json.encode(document)) is None


def test_fields_of_later_versions_are_passed_over() -> None:
    intent = drain()
    document = msgspec.json.decode(encode_intent(intent)) | {"colour": "blue"}
    assert decode_intent(msgspec.json.encode(document)) == intent


@pytest.mark.parametrize("value", [b"", b"[" * 100_000, b"{}", b'"drain"', b"x" * 20_000])
def test_huge_or_nested_values_are_passed_over(value: bytes) -> None:
    assert decode_intent(value) is None


@pytest.mark.parametrize("text", ["", "2026-01-31", "2026-01-31T12:00:00", "soon", "9999-99-99T00:00:00Z"])
def test_a_moment_without_a_zone_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="is not a moment"):
        parse_time(text, "deadline")
