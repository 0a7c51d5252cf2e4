"""The gateway's composition root: reads settings, builds the collaborators, wires the routes.

It runs under uvicorn, outside Ray, and imports neither torch, vLLM nor Ray: it works even when they do not.
"""

import asyncio
import gc
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from redis.asyncio import Redis
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from agents.safety.step import detects_self_harm
from memory.document_reader import DocumentReader
from memory.erasure import ErasureTarget, Forgetter
from memory.intents.executor import IntentExecutor
from memory.service import MemoryService
from serving import errors
from serving.auth.api_keys import ApiKeyAuthenticator
from serving.auth.key_usage import KeyUsage
from serving.auth.throttle import AuthThrottle
from serving.cache.documents import DocumentCache
from serving.cache.erasure import ResponseErasure
from serving.config import addresses
from serving.config.credentials import ERASURE_KEY, load_secrets
from serving.config.load import Settings, load_settings
from serving.engines.embedder import EmbedderClient
from serving.engines.http_client import EngineClient
from serving.engines.memory_embedder import MemoryEmbedder
from serving.engines.prefix_salt import PrefixSalt
from serving.engines.registry import EngineRegistry
from serving.engines.wire import routing
from serving.gateway import http_protocol, wiring
from serving.gateway.watchdog import Watchdog
from serving.generation.catalogue import ModelCatalogue
from serving.generation.fallback import FallbackChains
from serving.observability import sql_watch
from serving.observability.active_users import ActiveUsers
from serving.observability.metrics import Readings
from serving.observability.request_context import exchange_of
from serving.observability.telemetry import Telemetry, open_telemetry
from serving.privacy.audit_log import AuditLog
from serving.resilience.drain import Drain
from serving.resilience.redis import open_redis
from serving.resilience.tasks import stopped
from serving.resilience.throttle import Throttle
from serving.routes import consent, openapi, web
from serving.routes.agents import agents as agent_routes
from serving.routes.agents import inbox, jobs, personality, personas, proposals, services, stats
from serving.routes.counted import LOOKUPS_AT_ONCE, LOOKUPS_PER_S, count_refusal
from serving.routes.dependencies import Gateway
from serving.routes.memory import conversations, erasure, memories, messages, profiles, recall, wishes
from serving.routes.openai import completions, embeddings, models
from serving.routes.operations import health, health_report, metrics, usage
from serving.streams.erasure import RecordingErasure
from storage.api_keys import find_key
from storage.database import Pool, open_engine
from storage.erasure.log import ErasureLog

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
ADMIN_TIER = "admin"
MAX_PARAM_CHARS = 512  # of the request that an error message repeats
GZIP_LEVEL = 1  # 60 us for a response of 1.5 kB; higher levels are slower and save only a few bytes
KEEP_ALIVE_S = 30  # below the engine's 75 s, so that no request is sent on a connection that it is closing


def create_app() -> FastAPI:
    """Build the application from configuration and environment (uvicorn's `--factory`)."""
    settings = load_settings()
    telemetry = open_telemetry(settings.observability, os.environ, lambda name: _is_model(app, name))
    app = FastAPI(
        title="Bondhu",
        version="0.1.0",
        description="An OpenAI-compatible endpoint on self-hosted models.",
        lifespan=partial(_lifespan, settings=settings, telemetry=telemetry),
        separate_input_output_schemas=False,
        openapi_url="/openapi.json" if settings.gateway.docs else None,  # None also disables /docs and /redoc
    )
    for router in (completions.router, embeddings.router, models.router, usage.router, consent.router, health.router):
        app.include_router(router)
    app.include_router(health_report.router)
    for of_memory in (
        conversations.router,
        memories.router,
        messages.router,
        recall.router,
        profiles.router,
        profiles.imports,
        erasure.router,
        wishes.router,
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
        openapi.allow(document, sorted({name for spec in settings.served() for name in spec.allow_fields}))
    return document


def _is_model(app: FastAPI, name: str) -> bool:
    gateway: Gateway = app.state.gateway
    return gateway.models.is_known(name)


@asynccontextmanager
async def _lifespan(app: FastAPI, settings: Settings, telemetry: Telemetry) -> AsyncIterator[dict[str, Any]]:
    limits = settings.gateway
    cluster_key = os.environ["BONDHU_CLUSTER_KEY"]
    worker = secrets.token_hex(8)  # unique name of this process
    ingress = addresses.ingress_url(settings)
    database_settings = settings.database
    pool = Pool(database_settings.pool_min, database_settings.pool_max, database_settings.pool_timeout_s)
    database = open_engine(addresses.database_url(settings), pool)
    redis = Redis.from_url(addresses.redis_url(settings), socket_timeout=1, socket_connect_timeout=1)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
    engines = EngineClient(
        connect_timeout_s=limits.connect_timeout_s,
        keep_alive_s=KEEP_ALIVE_S,
        max_answer_bytes=limits.max_answer_bytes,
    )
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_timeout_s)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        engine_registry = EngineRegistry(
            directory_url=f"{ingress}/directory",
            cluster_key=cluster_key,
            session=session,
            poll_s=limits.directory_poll_s,
            probe_interval_s=limits.probe_interval_s,
            ready_within_s=limits.ready_within_s,
            retry_after_s=limits.retry_after_s,
            routing=routing(settings),
        )
        embedder = (
            EmbedderClient(
                url=f"{ingress}/{settings.embedder.application}",
                cluster_key=cluster_key,
                session=session,
                model=settings.embedder.id,
                dimensions=settings.embedder.dimensions,
                probe_interval_s=limits.probe_interval_s,
                retry_after_s=limits.retry_after_s,
                timeout_s=60.0,
            )
            if settings.embedder.enabled
            else None
        )
        memory_embedder = None if embedder is None else MemoryEmbedder(embedder, settings.embedder.revision)
        reranker = wiring.open_reranker(settings, ingress, cluster_key, session)
        index_cache = wiring.open_index_cache(settings, database, memory_embedder)
        now = partial(datetime.now, UTC)
        uses = KeyUsage(redis)
        active_users = ActiveUsers(redis, telemetry.user_hash)
        limits_redis = open_redis(addresses.redis_url(settings))
        limiter = wiring.open_limiter(settings, limits_redis, worker)
        answers_redis = open_redis(addresses.redis_url(settings), decodes=False)
        answers = wiring.open_response_cache(settings, answers_redis, engine_registry, embedder)
        ledger = wiring.open_ledger(settings, database, limiter, worker, wiring.Observer(telemetry, active_users))
        consents = wiring.open_consents(database, lambda: reloadable.settings.consent.app_covers_users)
        audit = AuditLog(settings.var_dir / "audit", keep_days=settings.observability.audit_days)
        external = wiring.open_external_pool(os.environ, telemetry, consents, audit.write, limits.max_answer_bytes)
        local = wiring.LocalTargets(
            settings, engine_registry, engines, telemetry.tracing, PrefixSalt(cluster_key), telemetry.metrics
        )
        step = wiring.open_safety_step(settings, memory_embedder)
        in_crisis = detects_self_harm(external.detect, step)
        agents = wiring.open_agents(settings, database, session, in_crisis, now)
        catalogue = ModelCatalogue(
            settings.ids,
            engine_registry,
            embedder,
            agents.registry,
            lambda: reloadable.settings.external,
            settings.agents.model,
        )
        chains = FallbackChains(local, local.waiting, catalogue.is_external)
        reloadable = wiring.open_settings_watcher(
            settings, engine_registry=engine_registry, chains=chains, external=external, limiter=limiter, ledger=ledger
        )
        drain = Drain(limits.drain_s)
        recordings_redis = open_redis(addresses.redis_url(settings), decodes=False)
        recorder, replicator = wiring.open_recorder(settings, recordings_redis, worker, drain)
        readings = Readings(
            models_ready=lambda: {model: state.ready for model, state in catalogue.states().items()},
            queue_depth=chains.queue_depth,
            breakers_open=lambda: (
                {
                    "redis": limiter.breaker.is_open,
                    "redis-streams": replicator.breaker.is_open,
                    "redis-answers": answers.store.breaker.is_open,
                }
                | external.breakers()
            ),
            redis_connections=partial(wiring.redis_connections, redis),
            sql_connections=partial(wiring.sql_connections, database),
            recordings=recorder.numbers,
        )
        sql_watch.watch(database, telemetry.metrics)
        doctor = wiring.open_doctor(settings, telemetry, catalogue, engine_registry, redis, database, readings)
        memory = MemoryService(database, index_cache, memory_embedder, now, reranker)
        safety, referrals = wiring.open_safety(settings, step, database, lambda: reloadable.settings, now)
        cached = DocumentCache(redis, now)
        places: dict[str, ErasureTarget] = {
            "answers": ResponseErasure(answers),
            "streams": RecordingErasure(recorder),
            "documents": cached,
        }
        erasure_key = os.environ.get(ERASURE_KEY) or load_secrets(settings.var_dir).erasure_key or cluster_key
        forgetter = Forgetter(database, index_cache, places, now, ErasureLog(erasure_key, now))
        app.state.gateway = Gateway(
            settings=settings,
            engine_registry=engine_registry,
            embedder=embedder,
            models=catalogue,
            agents=agents,
            keys=ApiKeyAuthenticator(partial(find_key, database)),
            lookups=Throttle(time.monotonic, burst=LOOKUPS_AT_ONCE, refill_s=1 / LOOKUPS_PER_S),
            sign_ins=AuthThrottle(time.monotonic),
            key_uses=uses,
            chains=chains,
            recorder=recorder,
            drain=drain,
            consents=consents,
            degraded=wiring.open_degraded(lambda: reloadable.settings, in_crisis),
            safety=safety,
            reloadable=reloadable,
            limiter=limiter,
            answers=answers,
            cached=cached,
            accounts=wiring.open_accounts(settings, database, session, now),
            database=database,
            redis=redis,
            ledger=ledger,
            telemetry=telemetry,
            readings=readings,
            active_users=active_users,
            doctor=doctor,
            memory=memory,
            documents=DocumentReader(os.environ, settings.memory.import_timeout_s),
            forgetter=forgetter,
            intents=IntentExecutor(database, memory, forgetter, now),
            now=now,
            may_see_all=lambda caller: caller.tier == ADMIN_TIER,
            started_at=int(time.time()),
        )
        watchdog = Watchdog(limits.hang_timeout_s)
        works = (
            watchdog,
            engine_registry,
            reloadable,
            embedder,
            uses,
            referrals,
            active_users,
            limiter,
            answers,
            ledger,
            replicator,
            index_cache,
            doctor,
        )
        watchers = [asyncio.create_task(work.run()) for work in works if work is not None]
        watchers.append(asyncio.create_task(telemetry.metrics.run(readings)))
        gc.collect()
        gc.freeze()  # excludes the half a million objects of the start-up from later collections
        try:
            with drain.on_signals():
                yield {http_protocol.STATE_KEY: wiring.connection_limits(limits)}
        finally:
            drain.begin()
            await recorder.close()
            for watcher in watchers:
                await stopped(watcher)
            await uses.flush()
            await referrals.close()
            await limiter.leave()
            await ledger.close()
            await active_users.flush()
            engines.close()
            await external.close()
            index_cache.close()
            await limits_redis.aclose()
            await recordings_redis.aclose()
            await answers_redis.aclose()
    await redis.aclose()
    await database.dispose()
    await asyncio.to_thread(telemetry.tracing.close)


async def _on_api_error(request: Request, error: Exception) -> Response:
    """Respond with an error, and count the refused request in the limits."""
    assert isinstance(error, errors.ApiError), "registered for it"
    problem = await count_refusal(request, error)
    return Response(problem.body(), problem.status, problem.headers, media_type="application/json")


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for it"
    status, body, headers = errors.http_error(error.status_code, str(error.detail), error.headers)
    return Response(body, status, headers, media_type="application/json")


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
    return Response(body, 500, headers, media_type="application/json")
