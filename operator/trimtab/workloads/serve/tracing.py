"""OpenTelemetry spans of inference requests, where the environment names an endpoint for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from trimtab.api.conditions import Reason
from trimtab.errors import Stalled

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Tracing:
    """One span for each request; the library batches them and sends them from a thread of its own."""

    def __init__(self, provider: Any, clock: Callable[[], float]) -> None:
        from opentelemetry.trace import SpanKind, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("trimtab.serve")
        self._kind, self._failed = SpanKind.SERVER, StatusCode.ERROR
        self._propagator = TraceContextTextMapPropagator()
        self._offset_ns = time.time_ns() - int(clock() * 1e9)

    def answered(self, model: str, revision: str, status: int, arrived: float, done: float, parent: str | None) -> None:
        """Record a request; times are by the clock, `parent` is what its header traceparent says."""
        context = self._propagator.extract({"traceparent": parent}) if parent else None
        span = self._tracer.start_span(
            "infer",
            context=context,
            kind=self._kind,
            start_time=self._wall_ns(arrived),
            attributes={"trimtab.model": model, "trimtab.revision": revision, "http.response.status_code": status},
        )
        if status >= 500:
            span.set_status(self._failed)
        span.end(self._wall_ns(done))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def _wall_ns(self, at: float) -> int:
        return self._offset_ns + int(at * 1e9)


def tracing(environment: Mapping[str, str], clock: Callable[[], float]) -> Tracing | None:
    """Return where spans go; None where no endpoint is configured, by OpenTelemetry's own variables.

    Raises:
        Stalled: An endpoint is configured, and the library is not installed.
    """
    if not any(environment.get(name) for name in _ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise Stalled(
            Reason.NOT_SUPPORTED,
            f"{_ENDPOINTS[-1]} is set, but this image has no {error.name}; install trimtab[otel], or unset it",
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": "trimtab-serve"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider, clock)
