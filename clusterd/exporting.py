"""Sending a command's traces to a collector, as OpenTelemetry's own environment variables say.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping

from clusterd.errors import UsageError

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 2.0
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces: by an endpoint to send them to, or by naming the exporter."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none":
        return False
    return bool(exporter) or any(environ.get(name) for name in _ENDPOINTS)


@contextlib.contextmanager
def exporting(service: str, environ: Mapping[str, str]) -> Iterator[None]:
    """Record traces for the time of the body, if the environment asks for it; `service` is the name unless it has one.

    They are sent by OTLP over HTTP, in the background; at the end what is left has two seconds to get there. Where the
    extra `clusterd[otel]` is missing, or the environment asks for what isn't there, a warning is logged, and no more.
    """
    if not wanted(environ):
        yield
        return
    try:
        finish = _start(service, environ)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with tracing must not stop a node
        log.warning("no traces are recorded: %s", _reason(error))
        yield
        return
    try:
        yield
    finally:
        finish()


def _start(service: str, environ: Mapping[str, str]) -> Callable[[], None]:
    """Set OpenTelemetry up, and return what sends the rest at the end."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if exporter != "otlp":
        raise UsageError(f"OTEL_TRACES_EXPORTER={exporter} is not known here: use otlp or none")
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create() if named else Resource.create({"service.name": service})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return lambda: _within_seconds(provider.shutdown)


def _within_seconds(shutdown: Callable[[], None]) -> None:
    """Let what is left be sent, but not hold the process up: a collector that hangs is given up on."""
    thread = threading.Thread(target=shutdown, name="clusterd last traces", daemon=True)
    thread.start()
    thread.join(_FLUSH_SECONDS)


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "OTEL_* asks for them, but OpenTelemetry is not installed: pip install 'clusterd[otel]'"
    return str(error)
