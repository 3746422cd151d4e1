"""What the control API can do, each operation described once: for the router, the guard and the OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from aiohttp import web

from clusterd.sidecar.http.answers import Problem, bad_request
from clusterd.sidecar.http.queries import Query, check_content_type, read_document

BODY_SECONDS = 10.0
"""For how long a body may be under way."""

Handler = Callable[[web.Request, Query], Awaitable[web.StreamResponse]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, with its JSON schema."""

    name: str
    summary: str
    schema: Mapping[str, Any]
    required: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer that isn't an error: a document, a stream of events, or (None) nothing."""

    summary: str
    document: Any = None
    stream: bool = False


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    `body` is the type of the body's document, `optional_body` whether it can be left out. `changes` says that it
    changes something, or takes a part in what happens: then it needs a token where there are any. `errors` are the
    statuses that it can fail with beside those that all can.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    outcomes: Mapping[int, Outcome]
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    optional_body: bool = False
    changes: bool = False
    errors: tuple[int, ...] = ()
    tag: str = field(default="fleet")

    @cached_property
    def known(self) -> frozenset[str]:
        """The names of the parameters."""
        return frozenset(parameter.name for parameter in self.parameters)


async def body_of(request: web.Request, kind: type[T], *, optional: bool = False) -> T:
    """Return the document that a request's body is; where it can be left out, one of nothing but defaults.

    Raises `Problem` for what isn't one, or takes too long.
    """
    if optional and not request.body_exists:
        return kind()
    check_content_type(request.headers.get("Content-Type", ""), request.headers.get("Content-Encoding", ""))
    try:
        async with asyncio.timeout(BODY_SECONDS):
            data = await request.read()
    except TimeoutError:
        raise Problem(408, "request_timeout", f"the body took over {BODY_SECONDS:g} s") from None
    except web.RequestPayloadError as error:
        raise bad_request("the body ended too early, or was badly framed") from error
    return kind() if optional and not data else read_document(kind, data)
