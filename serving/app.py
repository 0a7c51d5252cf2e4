"""The gateway's composition root: reads settings, builds the collaborators, wires the routes.

Runs under uvicorn, outside Ray, and imports none of torch, vLLM and Ray: it answers even when they do not.
"""

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from models.gemini import Gemini
from serving import addresses, errors
from serving.admission import Gate, slots_of_worker
from serving.auth import KeyRing
from serving.chains import Chains
from serving.embeddings import Embedder
from serving.engine_client import EngineClient
from serving.external_target import ExternalTarget
from serving.fleet import Fleet, stopped
from serving.key_uses import KeyUses
from serving.ledger import Ledger
from serving.limit_shares import Shares
from serving.limit_store import LimitStore, open_redis
from serving.limits import AWAY, Limiter
from serving.local_target import LocalTarget
from serving.middleware import RequestId
from serving.prices import Prices
from serving.routes import catalogue, embed, generate, health, usage
from serving.settings import Settings, load_settings
from serving.state import Gateway
from storage.database import open_engine
from storage.keys import find_key
from storage.ledger import insert_requests

log = logging.getLogger(__name__)

DEFAULT_MAX_IN_FLIGHT = 64  # of a model that the configuration did not know at start
EXPOSED = (  # to scripts in browsers
    "x-request-id",
    "x-bondhu-model",
    "retry-after",
    *(f"x-ratelimit-{what}-{unit}" for what in ("limit", "remaining", "reset") for unit in ("requests", "tokens")),
)
GEMINI_KEY = "GEMINI_API_KEY"
ADMIN_TIER = "admin"
LIMIT_WINDOW_S = 60.0  # "per minute"
KEEP_ALIVE_S = 30  # below the engine's (75 s), so that no request goes out on a connection that it is closing


def create_app() -> FastAPI:
    """The application, from configuration and environment (what uvicorn's `--factory` calls)."""
    settings = load_settings()
    app = FastAPI(
        title="Bondhu",
        version="0.1.0",
        description="An OpenAI-compatible endpoint on self-hosted models.",
        lifespan=partial(_lifespan, settings=settings),
        separate_input_output_schemas=False,
    )
    for router in (generate.router, embed.router, catalogue.router, usage.router, health.router):
        app.include_router(router)
    app.add_exception_handler(errors.ApiError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_bug)
    if settings.gateway.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.gateway.cors_origins),
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
        )
    app.add_middleware(RequestId)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, settings: Settings) -> AsyncIterator[None]:
    limits = settings.gateway
    cluster_key = os.environ["BONDHU_CLUSTER_KEY"]
    worker = secrets.token_hex(8)  # this process's name, unlike any other's
    ingress = f"http://127.0.0.1:{settings.ray.ingress_port}"
    database = open_engine(addresses.database_url(settings))
    redis = Redis.from_url(addresses.redis_url(settings), socket_timeout=1, socket_connect_timeout=1)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
    engines = EngineClient(connect_timeout_s=limits.connect_timeout_s, keep_alive_s=KEEP_ALIVE_S)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_timeout_s)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        fleet = Fleet(
            directory_url=f"{ingress}/directory",
            cluster_key=cluster_key,
            session=session,
            poll_s=limits.directory_poll_s,
            probe_interval_s=limits.probe_interval_s,
            ready_within_s=limits.ready_within_s,
            retry_after_s=limits.retry_after_s,
        )
        embedder = (
            Embedder(
                url=f"{ingress}/embedder",
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
        uses = KeyUses(redis)
        limits_redis = open_redis(addresses.redis_url(settings))
        limiter = _open_limiter(settings, limits_redis, worker)
        ledger = _open_ledger(settings, database, limiter, worker)
        external = _open_external(settings)
        local = partial(_local_target, settings, fleet, engines)
        outside = {**dict.fromkeys(settings.external), **{each.model: each for each in external}}
        app.state.gateway = Gateway(
            settings=settings,
            fleet=fleet,
            embedder=embedder,
            keys=KeyRing(partial(find_key, database)),
            key_uses=uses,
            chains=Chains(settings.catalogue, local, outside),
            limiter=limiter,
            database=database,
            ledger=ledger,
            may_see_all=lambda caller: caller.tier == ADMIN_TIER,
            started_at=int(time.time()),
        )
        works = (fleet, embedder, uses, limiter, ledger)
        watchers = [asyncio.create_task(work.run()) for work in works if work is not None]
        gc.collect()
        gc.freeze()  # start-up's half a million objects: no later collection looks at them again
        try:
            yield
        finally:
            for watcher in watchers:
                await stopped(watcher)
            await uses.flush()
            await limiter.leave()
            await ledger.close()
            engines.close()
            for each in external:
                await each.close()
            await limits_redis.aclose()
    await redis.aclose()
    await database.dispose()


def _open_limiter(settings: Settings, redis: "Redis", worker: str) -> Limiter:
    hold_s = settings.gateway.request_timeout_s * 2
    return Limiter(
        store=LimitStore(redis, window_s=LIMIT_WINDOW_S, hold_s=hold_s),
        shares=Shares(window_s=LIMIT_WINDOW_S, workers=settings.gateway.workers),
        tiers=settings.tiers,
        worker=worker,
    )


def _open_ledger(settings: Settings, database: AsyncEngine, limiter: Limiter, worker: str) -> Ledger:
    local = {name: spec.gpu_second_usd for name, spec in settings.catalogue.items() if spec.gpu_second_usd is not None}

    async def refund(app: str, entry_id: str, tokens_reserved: int) -> None:
        log.warning("request %s of %s died with its worker; %d tokens were reserved", entry_id, app, tokens_reserved)
        with contextlib.suppress(*AWAY):  # the limits' own sweep does it later
            await limiter.close_by_id(app, entry_id, None)

    return Ledger(
        directory=settings.var_dir / "ledger",
        boot_id=worker,
        insert=partial(insert_requests, database),
        on_lost=refund,
        prices=Prices(local, settings.prices),
        write_s=settings.ledger.write_s,
        sync_s=settings.ledger.sync_s,
        adopt_s=settings.ledger.adopt_s,
        max_bytes=settings.ledger.max_journal_bytes,
    )


def _local_target(settings: Settings, fleet: Fleet, engines: EngineClient, model: str) -> LocalTarget:
    spec = settings.catalogue.get(model)
    max_in_flight = spec.max_in_flight if spec else DEFAULT_MAX_IN_FLIGHT
    workers = settings.gateway.workers
    gate = Gate(
        model=model,
        rules=settings.admission,
        slots=lambda: slots_of_worker(fleet.state(model).replicas, max_in_flight, workers),
        retry_after_s=settings.gateway.retry_after_s,
        loop=asyncio.get_running_loop(),
    )
    return LocalTarget(
        model,
        gate=gate,
        fleet=fleet,
        engines=engines,
        ttft_timeout_s=spec.ttft_timeout_s if spec else None,
        stall_timeout_s=spec.stall_timeout_s if spec else None,
    )


def _open_external(settings: Settings) -> list[ExternalTarget]:
    """The models outside whose key is in the environment."""
    key = os.environ.get(GEMINI_KEY, "")
    if not key:
        return []
    return [
        ExternalTarget(
            id_,
            Gemini(
                model=spec.model,
                api_key=key,
                base_url=spec.base_url,
                thinking_tokens=spec.thinking_tokens,
                ttft_timeout_s=spec.ttft_timeout_s,
                stall_timeout_s=spec.stall_timeout_s,
                total_timeout_s=spec.timeout_s,
                now=time.time,
                new_id=lambda: secrets.token_hex(12),
            ),
        )
        for id_, spec in settings.external.items()
    ]


async def _on_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ApiError), "registered for it"
    return Response(error.body(), error.status, error.headers, media_type="application/json")


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for it"
    status, body, headers = errors.http_error(error.status_code, str(error.detail), error.headers)
    return Response(body, status, headers, media_type="application/json")


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError), "registered for it"
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    return await _on_api_error(_, errors.InvalidRequest(f"{param}: {first['msg']}", param=param))


async def _on_bug(_: Request, error: Exception) -> Response:
    """A bug of ours: uvicorn logs the trace, the client sees none."""
    body = errors.envelope("The gateway failed on this request; its log says why.", "api_error", None, "internal_error")
    return Response(body, 500, media_type="application/json")
