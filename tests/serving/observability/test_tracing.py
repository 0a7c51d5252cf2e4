"""Traces, received by a small collector that speaks OTLP over HTTP; and none of it without an endpoint."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from serving.observability.tracing import NoTracing, open_tracing
from tests.support.gateway_process import ROOT, GatewayProcess, wait_for

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
CLIENT_KIND, SERVER_KIND, ERROR = 3, 2, 2  # of opentelemetry/proto/trace/v1/trace.proto


@dataclass
class Received:
    """A span as it came in."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    status: int
    attributes: dict[str, Any]
    service: str


@dataclass
class Machine:
    """What stands around the gateway: a collector of traces, and a directory with one engine or none."""

    url: str = ""
    spans: list[Received] = field(default_factory=list)
    engine_headers: list[dict[str, str]] = field(default_factory=list)
    engine_address: str = ""

    async def collect(self, request: web.Request) -> web.Response:
        """POST /v1/traces."""
        message = ExportTraceServiceRequest.FromString(await request.read())
        for resource in message.resource_spans:
            about = values(resource.resource.attributes)
            for scope in resource.scope_spans:
                for span in scope.spans:
                    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
                    details = (span.kind, span.status.code, values(span.attributes), about["service.name"])
                    self.spans.append(Received(span.name, *ids, *details))
        return web.Response(body=b"", content_type="application/x-protobuf")

    async def directory(self, _: web.Request) -> web.Response:
        """GET /directory."""
        report = {
            "replica_id": "one",
            "epoch": 1,
            "model": "demo",
            "fingerprint": "f",
            "revision": "r",
            "quantization": "none",
            "state": "ready",
            "reason": "",
            "address": self.engine_address,
            "key": "engine-key",
            "running": 0,
            "waiting": 0,
            "kv_cache_usage": 0.0,
        }
        routing = {"alias": "bondhu", "active": "demo", "models": {"demo": "f"}}
        return web.json_response({"routing": routing, "replicas": [report]})

    async def probe(self, _: web.Request) -> web.Response:
        """POST /v1/completions: what proves an engine."""
        return web.json_response({"choices": []})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions: answers, or breaks off before it does."""
        self.engine_headers.append({name.lower(): value for name, value in request.headers.items()})
        body = await request.read()
        if b"break" in body:
            assert request.transport is not None
            request.transport.abort()
        if b'"stream":true' in body:
            choice = {"index": 0, "delta": {"content": "dear answer"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
            events = [{"id": "c", "choices": [choice]}, {"id": "c", "choices": [], "usage": usage}]
            text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
            return web.Response(text=text, content_type="text/event-stream")
        return web.json_response({"choices": [{"message": {"content": "dear answer"}}]})

    async def arrived(self, count: int) -> list[Received]:
        """Wait for that many spans of the generation path."""
        found: list[Received] = []

        def are_there() -> bool:
            found[:] = [span for span in self.spans if span.trace_id == TRACE]
            return len(found) >= count

        await asyncio.to_thread(wait_for, are_there, f"{count} spans")
        return found


def values(attributes: Any) -> dict[str, Any]:
    """Return attributes as a dictionary."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    """Return collector, directory and engine, listening."""
    machine = Machine()
    app = web.Application()
    app.router.add_post("/v1/traces", machine.collect)
    app.router.add_get("/directory", machine.directory)
    app.router.add_post("/v1/completions", machine.probe)
    app.router.add_post("/v1/chat/completions", machine.chat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    machine.url = machine.engine_address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield machine
    await runner.cleanup()


async def ask(machine: Machine, folder: Path, text: str, model: str = "bondhu") -> tuple[int, str]:
    """Run a gateway that traces, ask it once, stop it; returns status and request id."""
    port = machine.url.rpartition(":")[2]
    gateway = GatewayProcess(
        folder,
        BONDHU__RAY__INGRESS_PORT=port,
        BONDHU__EMBEDDER__ENABLED="false",
        OTEL_EXPORTER_OTLP_ENDPOINT=machine.url,
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    await asyncio.to_thread(gateway.__enter__)
    try:
        secret = await asyncio.to_thread(gateway.make_key, "shop")
        await asyncio.to_thread(wait_for, lambda: gateway.get("/ready").status_code == 200, "the engine to be proven")
        async with ClientSession(gateway.url) as session:
            headers = {"authorization": f"Bearer {secret}", "traceparent": TRACEPARENT, "x-request-id": "mine"}
            body = {"model": model, "user": "mina", "messages": [{"role": "user", "content": text}]}
            async with session.post("/v1/chat/completions", json=body, headers=headers) as answer:
                await answer.read()
                return answer.status, answer.headers["x-request-id"]
    finally:
        await asyncio.to_thread(gateway.__exit__)


async def test_a_request_is_one_trace_from_the_client_to_the_engine(machine: Machine, tmp_path: Path) -> None:
    """The client's span is the parent of ours, ours of the try, and the try's id goes to the engine."""
    assert await ask(machine, tmp_path, "dear diary") == (200, "mine")
    tried, served = sorted(await machine.arrived(2), key=lambda span: span.kind, reverse=True)
    assert (served.kind, served.parent_id, served.name) == (SERVER_KIND, PARENT, "POST /v1/chat/completions")
    assert (tried.kind, tried.parent_id, tried.name) == (CLIENT_KIND, served.span_id, "chat demo")
    (headers,) = machine.engine_headers
    assert headers["traceparent"] == f"00-{TRACE}-{tried.span_id}-01"
    assert headers["authorization"] == "Bearer engine-key"
    assert served.attributes["http.response.status_code"] == 200
    assert served.attributes["http.route"] == "/v1/chat/completions"
    assert served.attributes["bondhu.request_id"] == "mine"
    assert served.attributes["bondhu.app"] == "shop"
    assert tried.attributes["gen_ai.operation.name"] == "chat"
    assert tried.attributes["gen_ai.request.model"] == "demo"
    assert served.service == "bondhu-gateway"
    log = (tmp_path / "gateway.log").read_text()
    assert TRACE in log
    telemetry = str([span.attributes for span in machine.spans]) + log
    assert "dear" not in telemetry


async def test_every_step_of_an_agent_stands_below_its_run(machine: Machine, tmp_path: Path) -> None:
    """Routing, parameters, tool, narration, and below it the model and the try at an engine; none with its words."""
    assert await ask(machine, tmp_path, "dear, play some jazz songs", "bondhu/auto") == (200, "mine")
    spans = await machine.arrived(10)
    names = {span.span_id: span.name for span in spans}
    below = [(names.get(span.parent_id, "the client"), span.name) for span in spans]
    assert sorted(below) == sorted(
        [
            ("the client", "POST /v1/chat/completions"),
            ("POST /v1/chat/completions", "invoke_agent auto"),
            ("invoke_agent auto", "route"),  # to an agent
            ("invoke_agent auto", "proposal"),
            ("invoke_agent auto", "route"),  # to a tool
            ("invoke_agent auto", "parameters"),
            ("invoke_agent auto", "execute_tool find_songs"),
            ("invoke_agent auto", "narrate"),
            ("narrate", "model"),
            ("model", "chat demo"),
        ]
    )
    routes = {span.attributes["bondhu.route"] for span in spans if span.name == "route"}
    assert routes == {"music by rule", "find_songs by rule"}
    (asked,) = [span for span in spans if span.name == "model"]
    assert (asked.attributes["gen_ai.usage.input_tokens"], asked.attributes["gen_ai.usage.output_tokens"]) == (7, 2)
    assert {span.status for span in spans} == {0}
    assert "dear" not in str([span.attributes for span in spans]) + str([span.name for span in spans])


async def test_every_try_that_breaks_is_a_span_of_its_own(machine: Machine, tmp_path: Path) -> None:
    """With what went wrong by type, and the request's own span says what the client got."""
    status, _ = await ask(machine, tmp_path, "break")
    assert status in (502, 503)
    spans = await machine.arrived(2)
    tries = [span for span in spans if span.kind == CLIENT_KIND]
    (served,) = [span for span in spans if span.kind == SERVER_KIND]
    assert {(span.status, span.attributes["error.type"]) for span in tries} == {(ERROR, "ConnectionLost")}
    assert served.status == ERROR
    assert served.attributes["error.type"] == str(status)


async def test_a_span_of_the_wait_stands_below_the_request(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any part of the way can have one; an exception is told by its type, never by its words."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", machine.url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    tracing = open_tracing(os.environ)
    with pytest.raises(ValueError, match="dear"), tracing.child("request", {}), tracing.child("queue wait", {"n": 1}):
        raise ValueError("dear diary")
    await asyncio.to_thread(tracing.close)
    wait, request = machine.spans
    assert (wait.name, wait.parent_id, wait.attributes) == (
        "queue wait",
        request.span_id,
        {"n": 1, "error.type": "ValueError"},
    )
    assert wait.service == "mine"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_an_endpoint_nothing_traces(environ: dict[str, str]) -> None:
    """Nor when OpenTelemetry's own switches say no."""
    tracing = open_tracing(environ)
    assert isinstance(tracing, NoTracing)
    with tracing.child("anything", {}) as span:
        span.note("a", 1)
    assert tracing.upstream_headers() == {}


def test_without_an_endpoint_no_tracer_is_imported(tmp_path: Path) -> None:
    """The whole application is made without tracer and exporter (redis-py loads OpenTelemetry's metrics by itself)."""
    made = "import sys; from serving.gateway.app import create_app; create_app();"
    tracers = "('serving.observability.otel', 'opentelemetry.sdk.trace', 'opentelemetry.exporter')"
    code = f"{made} print([name for name in sys.modules if name.startswith({tracers})])"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL")}
    environ = kept | {"BONDHU_ROOT": str(ROOT), "BONDHU_VAR_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
