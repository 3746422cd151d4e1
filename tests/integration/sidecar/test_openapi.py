"""The OpenAPI document says what the daemon does: held against its real answers, to good and to bad requests."""

from __future__ import annotations

from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

OPERATIONS = [
    "GET /v1/nodes",
    "GET /v1/route",
    "POST /v1/route",
    "GET /v1/leader/{name}",
    "PUT /v1/leader/{name}",
    "DELETE /v1/leader/{name}",
    "GET /v1/self",
    "PATCH /v1/self",
    "PUT /v1/self/stats",
    "GET /v1/self/drain",
    "POST /v1/self/drain",
    "DELETE /v1/self/drain",
    "GET /v1/openapi.json",
]
STREAMS = {"GET /v1/watch", "POST /v1/leader/{name}", "GET /v1/self/evictions"}
CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance]


@pytest.fixture(scope="module")
def api(one_daemon: str) -> Any:
    document = requests.get(f"{one_daemon}/v1/openapi.json", timeout=20).json()
    schema = schemathesis.openapi.from_dict(document)
    operations = [result.ok() for result in schema.get_all_operations()]
    return one_daemon, {f"{one.method.upper()} {one.path}": one for one in operations}


def test_every_operation_is_tested(api: Any) -> None:
    assert set(api[1]) == {*OPERATIONS, *STREAMS}


@pytest.mark.parametrize("name", OPERATIONS)
def test_answers_are_as_described(api: Any, name: str) -> None:
    url, operations = api
    operation = operations[name]
    cases = operation.as_strategy()
    if operation.body or operation.query:
        cases = st.one_of(cases, operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))

    @given(case=cases)
    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def answers_as_described(case: Any) -> None:
        if case.query.get("wait") or case.query.get("index"):
            case.query = {**case.query, "wait": "1ms"}
        answer = case.call(base_url=url, timeout=20)
        case.validate_response(answer, checks=CHECKS)
        if answer.status_code >= 400 and not (operation.path.startswith("/v1/leader") and answer.status_code == 503):
            assert set(answer.json()) == {"error", "message"}
        if case.meta.generation.mode is GenerationMode.NEGATIVE:
            case.validate_response(answer, checks=[negative_data_rejection])

    answers_as_described()


@pytest.mark.parametrize("name", sorted(STREAMS))
@pytest.mark.parametrize("bad", [{"params": {"x": "1"}}, {"data": b"{"}], ids=["query", "body"])
def test_bad_requests_for_streams_are_answered_as_described(api: Any, name: str, bad: dict[str, Any]) -> None:
    if "data" in bad and name.startswith("GET"):
        bad = {"headers": {"Origin": "http://evil.example"}}
    method, _, path = name.partition(" ")
    answer = requests.request(method, api[0] + path.replace("{name}", "job"), timeout=20, **bad)
    assert str(answer.status_code) in api[1][name].definition.raw["responses"]
    assert set(answer.json()) == {"error", "message"}
