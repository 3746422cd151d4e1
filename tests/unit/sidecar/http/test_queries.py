"""Queries and bodies: what is usable is read as it was meant, all else is a problem with a status, never a fault."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clusterd.sidecar.http.answers import Problem
from clusterd.sidecar.http.documents import CandidacyRequest, DrainRequest, RoutesRequest, SelfRequest, StatsDocument
from clusterd.sidecar.http.queries import MAX_PARAMETERS, Query, check_content_type, read_document

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = frozenset({"key", "n", "zone"})
KINDS: list[Any] = [CandidacyRequest, DrainRequest, RoutesRequest, SelfRequest, StatsDocument]


@given(st.dictionaries(st.sampled_from(sorted(NAMES)), TEXT), st.booleans())
def test_what_was_encoded_is_read(values: dict[str, str], blanks_as_plus: bool) -> None:
    raw = urlencode(values) if blanks_as_plus else "&".join(f"{n}={quote(v, safe='')}" for n, v in values.items())
    query = Query.parse(raw, NAMES)
    assert {name: query.one(name) for name in NAMES if query.one(name) is not None} == values


@given(st.text())
@example("key=%ff")
@example("key=%")
@example("key=a&")
@example("&" * 1000)
@example("n=1&n=2")
def test_any_text_is_read_or_a_problem(raw: str) -> None:
    try:
        query = Query.parse(raw, NAMES)
        query.one("key")
        query.number("n", 1, most=100)
    except Problem as problem:
        assert problem.status == 400  # noqa: PT017 - either way is right


def test_as_many_as_are_allowed_and_no_more() -> None:
    assert len(Query.parse("&".join(["key=a"] * MAX_PARAMETERS), NAMES).many("key")) == MAX_PARAMETERS
    with pytest.raises(Problem):
        Query.parse("&".join(["key=a"] * (MAX_PARAMETERS + 1)), NAMES)


@pytest.mark.parametrize("text", ["0", "101", "-1", "1.0", " 1", "", "１", "1" * 5000])
def test_a_number_is_in_range_or_a_problem(text: str) -> None:
    with pytest.raises(Problem, match="whole number from 1 to 100"):
        Query({"n": [text]}).number("n", 1, most=100)


@given(st.sampled_from(KINDS), st.binary())
@example(StatsDocument, b"[" * 100_000)
@example(StatsDocument, b'{"sessions":1e400}')
@example(StatsDocument, b'{"sessions":' + b"9" * 5000 + b"}")
@example(SelfRequest, b'{"labels":{"\xff":""}}')
def test_any_bytes_are_a_document_or_a_problem(kind: Any, data: bytes) -> None:
    try:
        assert isinstance(read_document(kind, data), kind)
    except Problem as problem:
        assert problem.status == 400  # noqa: PT017 - either way is right


@pytest.mark.parametrize(
    "usable", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_json_is_taken(usable: str) -> None:
    check_content_type(usable, "")


@pytest.mark.parametrize(
    "other", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
def test_what_a_web_page_can_send_unasked_is_not(other: str) -> None:
    with pytest.raises(Problem) as caught:
        check_content_type(other, "")
    assert caught.value.status == 415
