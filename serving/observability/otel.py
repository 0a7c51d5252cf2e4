"""Traces by the OpenTelemetry SDK, sent as OTLP over HTTP from a separate thread; the only module that imports it.

Attributes follow https://opentelemetry.io/docs/specs/semconv/http/http-spans/ and .../gen-ai/gen-ai-spans/. The SDK
reads endpoint, interval, sampling and service name from the OTEL_ variables.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.types import Scope

from serving.observability.request_context import Exchange
from serving.observability.tracing import Attribute

# Field that routes note on the exchange -> span attribute.
NOTED = {
    "model": "gen_ai.response.model",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
    "ttft_s": "gen_ai.response.time_to_first_chunk",
    "app": "bondhu.app",
    "class": "bondhu.class",
}


class _Recorded:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, name: str, value: Attribute) -> None:
        self._span.set_attribute(name, value)


class OpenTelemetry:
    """Tracing with the SDK; service.name is `bondhu-gateway` unless the environment sets it."""

    def __init__(self) -> None:
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):  # the SDK's own default
            resource = resource.merge(Resource({SERVICE_NAME: "bondhu-gateway"}))
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("bondhu.gateway")

    @contextmanager
    def serve(self, scope: Scope, exchange: Exchange) -> Iterator[_Recorded]:
        """The span of an incoming request; a child of the client's span if it sent `traceparent`."""
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        attributes: dict[str, Attribute] = {
            "http.request.method": exchange.method,
            "url.scheme": scope["scheme"],
            "bondhu.request_id": exchange.request_id,
        }
        caller = propagate.extract(carrier)
        with self._span(exchange.method, attributes, trace.SpanKind.SERVER, caller) as span:
            exchange.trace_id = trace.format_trace_id(span.get_span_context().trace_id)
            try:
                yield _Recorded(span)
            finally:
                route = getattr(scope.get("route"), "path", "")
                if route:
                    span.update_name(f"{exchange.method} {route}")
                    span.set_attribute("http.route", route)
                if exchange.status is not None:
                    span.set_attribute("http.response.status_code", exchange.status)
                    if exchange.status >= 500:
                        span.set_attribute("error.type", str(exchange.status))
                        span.set_status(trace.StatusCode.ERROR)
                for noted, attribute in NOTED.items():
                    if exchange.noted.get(noted) is not None:
                        span.set_attribute(attribute, exchange.noted[noted])

    @contextmanager
    def child(self, name: str, attributes: Mapping[str, Attribute], *, outgoing: bool = False) -> Iterator[_Recorded]:
        """A child of the current span; `outgoing` for a call to another process."""
        kind = trace.SpanKind.CLIENT if outgoing else trace.SpanKind.INTERNAL
        with self._span(name, attributes, kind, None) as span:
            yield _Recorded(span)

    def upstream_headers(self) -> Mapping[str, str]:
        """Headers that make the callee's spans children of the current one."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return carrier

    def close(self) -> None:
        """Send pending spans; blocks for at most the exporter's timeout."""
        self._provider.shutdown()

    @contextmanager
    def _span(
        self, name: str, attributes: Mapping[str, Attribute], kind: trace.SpanKind, context: Context | None
    ) -> Iterator[trace.Span]:
        # Exceptions are not recorded: their messages may quote prompts.
        with self._tracer.start_as_current_span(
            name, context, kind, attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except asyncio.CancelledError:
                span.set_attribute("error.type", "cancelled")  # the client disconnected: not a failure
                raise
            except Exception as problem:
                span.set_attribute("error.type", type(problem).__name__)
                span.set_status(trace.StatusCode.ERROR)
                raise
