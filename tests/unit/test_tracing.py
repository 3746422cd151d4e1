"""Traces are passed on whether or not they are recorded; recorded, spans are where they belong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from clusterd import tracing
from clusterd.drain.course import Course, Sight, Terms
from clusterd.drain.intent import make_drain
from clusterd.drain.trace import DrainTrace
from clusterd.exporting import wanted

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def provider() -> TracerProvider:
    """The process's provider: OpenTelemetry lets it be set once."""
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
    return provider


@pytest.fixture
def spans(provider: TracerProvider) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    processor = SimpleSpanProcessor(exporter)
    provider.add_span_processor(processor)
    yield exporter
    processor.shutdown()


@pytest.fixture
def without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)


@pytest.mark.usefixtures("without_opentelemetry")
def test_where_nothing_is_recorded_the_trace_is_passed_on() -> None:
    span = tracing.begin("a", PARENT)
    inner = span.begin("b", sessions=3)
    assert (span.traceparent, inner.traceparent) == (PARENT, PARENT)
    with inner.entered():
        assert tracing.current() == PARENT
    assert tracing.current() == ""
    inner.end("failed")
    span.end()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + "-more",
        "ff" + PARENT[2:],
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
        PARENT + "\n",
    ],
)
@pytest.mark.usefixtures("without_opentelemetry")
def test_what_is_no_traceparent_is_not_passed_on(text: str) -> None:
    assert tracing.begin("a", text).traceparent == ""


@given(st.text())
def test_any_text_begins_a_span(text: str) -> None:
    tracing.begin("a", text).end()


def test_spans_are_within_the_one_that_the_parent_names(spans: InMemorySpanExporter) -> None:
    outer = tracing.begin("outer", PARENT, node="gw-1", absent=None)
    with outer.entered():
        assert tracing.current() == outer.traceparent
        assert trace.get_current_span().get_span_context().span_id == int(outer.traceparent.split("-")[2], 16)
    inner = outer.begin("inner")
    inner.end("it broke")
    outer.end()
    second, first = spans.get_finished_spans()
    assert first.context.trace_id == second.context.trace_id == int(PARENT.split("-")[1], 16)
    assert first.parent is not None
    assert f"{first.parent.span_id:016x}" == PARENT.split("-")[2]
    assert second.parent is not None
    assert second.parent.span_id == first.context.span_id
    assert dict(first.attributes or {}) == {"clusterd.node": "gw-1"}
    assert second.status.description == "it broke"


def test_a_drain_is_a_span_with_one_for_each_stage(spans: InMemorySpanExporter) -> None:
    intent = make_drain(by="ann", now=datetime.now(UTC), traceparent=PARENT)
    course, drain = Course(Terms(settle=1.0), 0.0), DrainTrace(intent, "gw-1")
    looks = [
        (0.0, Sight(5, cordoned=False)),
        (0.1, Sight(5, permitted=False)),
        (1.2, Sight(5, permitted=False)),
        (1.3, Sight(5)),
        (2.0, Sight(0)),
        (3.1, Sight(0)),
    ]
    for now, sight in looks:
        course.step(now, sight)
        drain.follow(course)
    drain.end(course)
    finished = spans.get_finished_spans()
    assert [span.name for span in finished] == [
        "clusterd.drain.settle",
        "clusterd.drain.permit",
        "clusterd.drain.move",
        "clusterd.drain",
    ]
    whole = finished[-1]
    assert {span.parent.span_id for span in finished[:-1] if span.parent} == {whole.context.span_id}
    assert whole.attributes is not None
    assert (whole.attributes["clusterd.phase"], whole.attributes["clusterd.moved"]) == ("drained", 5)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_SERVICE_NAME": "gw"}, False),
    ],
)
def test_traces_are_sent_where_the_environment_asks_for_it(environ: dict[str, str], expected: bool) -> None:
    assert wanted(environ) is expected


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **environ}, capture_output=True, text=True)


def test_a_missing_extra_is_a_warning_and_no_more() -> None:
    code = (
        "import sys, os, logging; logging.basicConfig(); sys.modules['opentelemetry'] = None\n"
        "from clusterd.exporting import exporting\n"
        "with exporting('x', os.environ): print('ran')"
    )
    ended = run(code, OTEL_TRACES_EXPORTER="otlp")
    assert (ended.returncode, ended.stdout) == (0, "ran\n")
    assert "pip install 'clusterd[otel]'" in ended.stderr


def test_an_exporter_that_is_not_known_is_a_warning_and_no_more() -> None:
    code = "import os\nfrom clusterd.exporting import exporting\nwith exporting('x', os.environ): print('ran')"
    ended = run(code, OTEL_TRACES_EXPORTER="zipkin")
    assert (ended.returncode, ended.stdout) == (0, "ran\n")
    assert "OTEL_TRACES_EXPORTER=zipkin is not known here" in ended.stderr
