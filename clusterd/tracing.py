"""Traces by OpenTelemetry, in a process that uses it; elsewhere nothing is recorded, and nothing imported.

A trace goes from process to process as a W3C `traceparent` (https://www.w3.org/TR/trace-context/). It is passed on also
where nothing is recorded, so that a node without tracing doesn't break an operator's trace.
"""

from __future__ import annotations

import contextlib
import contextvars
import re
import sys
from collections.abc import Iterator
from typing import Any, Protocol

from clusterd.version import __version__

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_current: contextvars.ContextVar[str] = contextvars.ContextVar("clusterd_traceparent", default="")


class Span(Protocol):
    """A part of a trace: what was done, from when to when."""

    @property
    def traceparent(self) -> str:
        """What makes others' spans a part of this one; empty where there is no trace."""

    def begin(self, name: str, **attributes: Any) -> Span:
        """Begin a span within this one."""

    def note(self, **attributes: Any) -> None:
        """Add what became known meanwhile; None is passed over."""

    def end(self, failure: str = "") -> None:
        """End it; `failure` says what went wrong, if anything did."""

    def entered(self) -> contextlib.AbstractContextManager[object]:
        """Be the current span for the time of a body: what OpenTelemetry's other instrumentation begins is within."""


def begin(name: str, parent: str = "", **attributes: Any) -> Span:
    """Begin a span, in the trace of the `parent` (a traceparent) if that is one."""
    parent = parent if is_traceparent(parent) else ""
    if (api := sys.modules.get("opentelemetry.trace")) is None:
        return _Unrecorded(parent)
    return _Recorded(api, api.get_tracer("clusterd", __version__), name, parent, attributes)


def is_traceparent(text: str) -> bool:
    """Whether a text is a traceparent that can be passed on."""
    return _TRACEPARENT.fullmatch(text) is not None


def current() -> str:
    """Return the traceparent of the span that is entered here; empty where there is none."""
    return _current.get()


@contextlib.contextmanager
def _as_current(traceparent: str) -> Iterator[None]:
    token = _current.set(traceparent)
    try:
        yield
    finally:
        _current.reset(token)


class _Unrecorded:
    """Stands where nothing is recorded: passes on the trace that it was given."""

    def __init__(self, traceparent: str) -> None:
        self.traceparent = traceparent

    def begin(self, name: str, **attributes: Any) -> Span:  # noqa: ARG002 - see Span
        return self

    def note(self, **attributes: Any) -> None: ...

    def end(self, failure: str = "") -> None: ...

    def entered(self) -> contextlib.AbstractContextManager[object]:
        return _as_current(self.traceparent)


class _Recorded:
    """A span of OpenTelemetry's."""

    def __init__(self, api: Any, tracer: Any, name: str, parent: str, attributes: dict[str, Any]) -> None:
        self._api = api
        self._tracer = tracer
        context = _context(api, parent) if parent else None
        self._span = tracer.start_span(name, context=context, attributes=_given(attributes))

    @property
    def traceparent(self) -> str:
        context = self._span.get_span_context()
        if not context.is_valid:
            return ""
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def begin(self, name: str, **attributes: Any) -> Span:
        return _Recorded(self._api, self._tracer, name, self.traceparent, attributes)

    def note(self, **attributes: Any) -> None:
        self._span.set_attributes(_given(attributes))

    def end(self, failure: str = "") -> None:
        if failure:
            self._span.set_status(self._api.Status(self._api.StatusCode.ERROR, failure))
        self._span.end()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        with _as_current(self.traceparent), self._api.use_span(self._span):
            yield


def _given(attributes: dict[str, Any]) -> dict[str, Any]:
    return {f"clusterd.{name}": value for name, value in attributes.items() if value not in (None, "")}


def _context(api: Any, traceparent: str) -> Any:
    """Return OpenTelemetry's context for a span within the one that a traceparent names."""
    trace_id, span_id, flags = (int(part, 16) for part in traceparent.split("-")[1:])
    remote = api.SpanContext(trace_id, span_id, is_remote=True, trace_flags=api.TraceFlags(flags))
    return api.set_span_in_context(api.NonRecordingSpan(remote))
