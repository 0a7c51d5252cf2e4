"""The interface to tracing: spans of a request, its wait and each engine call; without an OTLP endpoint, none.

OpenTelemetry is imported (only by `serving.observability.otel`) if its standard variables name an OTLP endpoint. Spans
have names, numbers and ids, never prompts or completions.
"""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.observability.request_context import Exchange, exchange_of

log = logging.getLogger(__name__)

Attribute = str | int | float | bool
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class Span(Protocol):
    """An open span."""

    def note(self, name: str, value: Attribute) -> None:
        """Set an attribute, named by OpenTelemetry's conventions."""


class Tracing(Protocol):
    """Creates spans. An exception that leaves a span's block is recorded by type, without its message."""

    def serve(self, scope: Scope, exchange: Exchange) -> AbstractContextManager[Span]:
        """The span of an incoming request; a child of the client's span if it sent `traceparent`."""

    def child(
        self, name: str, attributes: Mapping[str, Attribute], *, outgoing: bool = False
    ) -> AbstractContextManager[Span]:
        """A child of the current span; `outgoing` for a call to another process."""

    def upstream_headers(self) -> Mapping[str, str]:
        """Headers that make the callee's spans children of the current one."""

    def close(self) -> None:
        """Send pending spans; blocks for at most the exporter's timeout."""


class _NoSpan:
    def note(self, name: str, value: Attribute) -> None:
        pass


class NoTracing:
    """Traces nothing, at no cost."""

    def __init__(self) -> None:
        self._nothing = nullcontext(_NoSpan())

    def serve(self, scope: Scope, exchange: Exchange) -> AbstractContextManager[Span]:
        """Nothing."""
        return self._nothing

    def child(
        self, name: str, attributes: Mapping[str, Attribute], *, outgoing: bool = False
    ) -> AbstractContextManager[Span]:
        """Nothing."""
        return self._nothing

    def upstream_headers(self) -> Mapping[str, str]:
        """None."""
        return {}

    def close(self) -> None:
        """Nothing to send."""


def open_tracing(environ: Mapping[str, str]) -> Tracing:
    """Tracing as configured by OpenTelemetry's variables.

    See https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/. Only the variables that
    enable tracing are read here; the SDK reads the others.
    """
    is_enabled = any(environ.get(name) for name in ENDPOINTS) and environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
    if not is_enabled or environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return NoTracing()
    protocol = next((environ[name] for name in PROTOCOLS if environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        log.warning("traces are sent as http/protobuf; the protocol %s is not supported", protocol)
    from serving.observability.otel import OpenTelemetry

    return OpenTelemetry()


class Traced:
    """ASGI middleware: a span for each request; it must be inside `RequestId`."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._tracing.serve(scope, exchange_of(scope)):
            await self._app(scope, receive, send)
