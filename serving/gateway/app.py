"""The gateway's application: its routes, middleware and error responses. `serving.gateway.lifespan` builds the rest.

It runs under uvicorn, outside Ray, and imports neither torch, vLLM nor Ray: it works even when they do not.
"""

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from serving import errors
from serving.config.load import Settings, load_settings
from serving.gateway.lifespan import lifespan
from serving.observability.request_context import exchange_of
from serving.observability.telemetry import open_telemetry
from serving.protocol.anthropic import errors as anthropic_errors
from serving.routes import anthropic, consent, openapi, unknown_paths, web
from serving.routes.agents import agents as agent_routes
from serving.routes.agents import inbox, jobs, personality, personas, proposals, services, stats
from serving.routes.counted import count_refusal
from serving.routes.dependencies import Gateway
from serving.routes.memory import (
    conversations,
    erasure,
    lists,
    memories,
    messages,
    muted_topics,
    profiles,
    recall,
    wishes,
)
from serving.routes.openai import completions, embeddings, models, rerank, responses, tokens
from serving.routes.openai.direct import DirectRoutes
from serving.routes.operations import health, health_report, metrics, usage

EXPOSED = (  # headers that scripts in browsers may read
    "x-request-id",
    "x-bondhu-model",
    "x-bondhu-cache",
    "x-bondhu-degraded",
    "x-bondhu-memory",
    "x-bondhu-safety",
    "x-bondhu-notices",
    "retry-after",
    *(f"x-ratelimit-{what}-{unit}" for what in ("limit", "remaining", "reset") for unit in ("requests", "tokens")),
)
MAX_PARAM_CHARS = 512  # of the request that an error message repeats
GZIP_LEVEL = 1  # 60 us for a response of 1.5 kB; higher levels are slower and save only a few bytes


def create_app() -> FastAPI:
    """Build the application from configuration and environment (uvicorn's `--factory`)."""
    settings = load_settings()
    telemetry = open_telemetry(settings.observability, os.environ, lambda name: _is_model(app, name))
    app = FastAPI(
        title="Bondhu",
        version="0.1.0",
        description="An OpenAI-compatible endpoint on self-hosted models.",
        lifespan=partial(lifespan, settings=settings, telemetry=telemetry),
        separate_input_output_schemas=False,
        openapi_url="/openapi.json" if settings.gateway.docs else None,  # None also disables /docs and /redoc
    )
    for router in (completions.router, responses.router, anthropic.router, tokens.router):
        app.include_router(router)
    for router in (embeddings.router, models.router, usage.router, consent.router, health.router):
        app.include_router(router)
    app.include_router(health_report.router)
    if settings.reranker is not None:
        app.include_router(rerank.router)
    for of_memory in (
        conversations.router,
        lists.router,
        memories.router,
        messages.router,
        recall.router,
        profiles.router,
        profiles.imports,
        erasure.router,
        wishes.router,
        muted_topics.router,
        agent_routes.router,
        proposals.router,
        personas.router,
        jobs.router,
        personality.router,
        inbox.router,
        stats.router,
        services.router,
        services.callbacks,
    ):
        app.include_router(of_memory)
    if settings.observability.metrics:
        app.include_router(metrics.router)
    if settings.gateway.page:
        app.include_router(web.page_router())
    app.add_middleware(unknown_paths.HeadAsGet)  # innermost
    app.add_middleware(DirectRoutes, routes=app.routes, on_error=_on_api_error)
    app.openapi = partial(_document, app, settings)  # type: ignore[method-assign]  # FastAPI's way to extend it
    app.add_exception_handler(errors.ApiError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_bug)
    if settings.gateway.gzip_min_bytes:  # Starlette does not compress event streams
        app.add_middleware(GZipMiddleware, minimum_size=settings.gateway.gzip_min_bytes, compresslevel=GZIP_LEVEL)
    if settings.gateway.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.gateway.cors_origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    telemetry.watch(app)
    return app


def _document(app: FastAPI, settings: Settings) -> dict[str, Any]:
    """The OpenAPI document, with the additional fields that the served models allow."""
    is_new = app.openapi_schema is None
    document = FastAPI.openapi(app)
    if is_new:
        openapi.secure(document)
        openapi.allow(document, sorted({name for spec in settings.served() for name in spec.allow_fields}))
    return document


def _is_model(app: FastAPI, name: str) -> bool:
    gateway: Gateway = app.state.gateway
    return gateway.models.is_known(name)


async def _on_api_error(request: Request, error: Exception) -> Response:
    """Respond with an error, and count the refused request in the limits."""
    assert isinstance(error, errors.ApiError), "registered for it"
    problem = await count_refusal(request, error)
    return _error_response(request, problem.status, problem.body(), problem.headers)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """A path that does not exist, or a method that it does not have: the message says what exists."""
    assert isinstance(error, HTTPException), "registered for it"
    detail = unknown_paths.explain(request, error) or str(error.detail)
    status, body, headers = errors.http_error(error.status_code, detail, error.headers)
    return _error_response(request, status, body, headers)


def _error_response(request: Request, status: int, body: bytes, headers: Mapping[str, str]) -> Response:
    """The error, in the shape of the path's protocol."""
    if anthropic_errors.is_spoken_at(request.scope["path"]):
        body = anthropic_errors.error_body(status, body, request.scope["bondhu.request_id"])
    return Response(body, status, dict(headers), media_type="application/json")


async def _on_invalid(request: Request, error: Exception) -> Response:
    """Requests that FastAPI refuses count in the limits like any other refused request."""
    assert isinstance(error, RequestValidationError), "registered for it"
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:])[:MAX_PARAM_CHARS] or None
    return await _on_api_error(
        request, errors.InvalidRequest(f"{param}: {first['msg'][:MAX_PARAM_CHARS]}", param=param)
    )


async def _on_bug(request: Request, error: Exception) -> Response:
    """A bug: uvicorn logs the traceback; the client gets an error without details."""
    message = "Internal error of the gateway; its log has the details under this request's x-request-id."
    body = errors.envelope(message, "api_error", None, "internal_error")
    headers = {"x-request-id": exchange_of(request.scope).request_id}  # this response bypasses the middleware
    return _error_response(request, 500, body, headers)
