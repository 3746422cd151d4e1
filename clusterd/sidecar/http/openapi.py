"""The OpenAPI document of the control API, made from its operations. https://spec.openapis.org/oas/v3.1.0"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from clusterd.sidecar.http.answers import ErrorDocument
from clusterd.sidecar.http.operations import Operation, Outcome, Parameter
from clusterd.version import __version__

_REFERENCE = "#/components/schemas/{name}"
_PHRASES = {
    400: "query or body can't be used",
    401: "no token that is accepted",
    403: "caused by a web page of another origin",
    404: "there is no such thing",
    408: "the body took too long",
    409: "something else is in the way",
    413: "the body is too large",
    415: "the body isn't JSON",
    421: "the Host isn't a loopback one",
    502: "etcd refuses it",
    503: "not now: see Retry-After",
}
_BODY_ERRORS = (408, 413, 415)


def openapi(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the document."""
    operations = list(operations)
    named = _types(operations)
    schemas, components = msgspec.json.schema_components(named, ref_template=_REFERENCE)
    by_type = dict(zip(named, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "clusterd control API",
            "version": __version__,
            "summary": "What a gateway in any language asks the clusterd beside it",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _types(operations: Iterable[Operation]) -> list[Any]:
    found: dict[Any, None] = {ErrorDocument: None}
    for operation in operations:
        found |= {outcome.document: None for outcome in operation.outcomes.values() if outcome.document is not None}
        found |= {operation.body: None} if operation.body is not None else {}
    return list(found)


def _describe(operation: Operation, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _name(operation),
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation), *map(_parameter, operation.parameters)],
        "responses": {str(status): answer for status, answer in sorted(_answers(operation, schemas).items())},
    }
    if operation.body is not None:
        content = {"application/json": {"schema": schemas[operation.body]}}
        described["requestBody"] = {"required": not operation.optional_body, "content": content}
    if operation.changes:
        described["security"] = [{"token": []}, {}]
    return described


def _answers(operation: Operation, schemas: Mapping[Any, Any]) -> dict[int, Any]:
    statuses = {400, 403, 421, *operation.errors}
    statuses |= set(_BODY_ERRORS) if operation.body is not None else set()
    statuses |= {401} if operation.changes else set()
    answers = {status: _error(status, schemas[ErrorDocument]) for status in statuses}
    answers |= {status: _outcome(outcome, schemas) for status, outcome in operation.outcomes.items()}
    return answers


def _error(status: int, schema: Any) -> dict[str, Any]:
    return {"description": _PHRASES[status], "content": {"application/json": {"schema": schema}}}


def _outcome(outcome: Outcome, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": outcome.summary}
    if outcome.stream:
        answer["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    elif outcome.document is not None:
        answer["content"] = {"application/json": {"schema": schemas[outcome.document]}}
    return answer


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = {"type": "array", "items": parameter.schema} if parameter.repeated else parameter.schema
    described = {"name": parameter.name, "in": "query", "description": parameter.summary, "schema": schema}
    return {**described, "required": parameter.required}


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    if "{name}" not in operation.path:
        return []
    schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"}
    return [{"name": "name", "in": "path", "required": True, "description": "the election", "schema": schema}]


def _name(operation: Operation) -> str:
    """Return a name for generated clients: `GET /v1/self/drain` is `get_self_drain`."""
    words = operation.path.removeprefix("/v1/").replace("{name}", "").replace(".json", "")
    return "_".join([operation.method.lower(), *filter(None, words.split("/"))])
