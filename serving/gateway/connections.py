"""A gateway worker's connections: SQL, Redis, engines, and what else Ray runs."""

import os
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
from redis.exceptions import ResponseError
from sqlalchemy.ext.asyncio import AsyncEngine

from serving.config import addresses
from serving.config.credentials import CLUSTER_KEY
from serving.config.load import Settings
from serving.engines.embedder import EmbedderClient
from serving.engines.http_client import EngineClient
from serving.engines.memory_embedder import MemoryEmbedder
from serving.engines.registry import EngineRegistry
from serving.engines.reranker import RerankerClient
from serving.engines.wire import routing
from serving.gateway import wiring
from serving.resilience.redis import GuardedRedis, open_redis
from storage.database import Pool, open_engine

KEEP_ALIVE_S = 30  # below the engine's 75 s, so that no request is sent on a connection that it is closing
EMBEDDER_TIMEOUT_S = 60.0
OTHERS_TIMEOUT_S = 1.0  # of a call to Redis that is not for each request


@dataclass(frozen=True, slots=True)
class RedisGuards:
    """Redis for the limits, for cached responses, for recordings, for agents' sessions, and for everything else."""

    limits: GuardedRedis
    answers: GuardedRedis
    streams: GuardedRedis
    sessions: GuardedRedis
    others: GuardedRedis

    def breakers(self) -> dict[str, bool]:
        """Whether the breaker of each use is open."""
        guards = (self.limits, self.answers, self.streams, self.sessions, self.others)
        return {each.name: each.breaker.is_open for each in guards}


@dataclass(frozen=True, slots=True)
class Connections:
    """What a worker connects to; Redis by one client, with a guard for each use."""

    database: AsyncEngine
    redis: RedisGuards
    session: aiohttp.ClientSession
    engines: EngineClient


@dataclass(frozen=True, slots=True)
class Deployments:
    """The clients of what Ray runs; None for what is not configured."""

    engine_registry: EngineRegistry
    embedder: EmbedderClient | None
    memory_embedder: MemoryEmbedder | None
    reranker: RerankerClient | None  # for recall, which does without it after a moment
    ranker: RerankerClient | None  # for POST /v1/rerank


async def open_connections(stack: AsyncExitStack, settings: Settings) -> Connections:
    """Open them; `stack` closes them."""
    limits, database_settings = settings.gateway, settings.database
    pool = Pool(database_settings.pool_min, database_settings.pool_max, database_settings.pool_timeout_s)
    database = open_engine(addresses.database_url(settings), pool)
    stack.push_async_callback(database.dispose)
    client = open_redis(addresses.redis_url(settings))
    stack.push_async_callback(client.aclose)
    redis = RedisGuards(
        limits=GuardedRedis(client, "redis"),
        answers=GuardedRedis(client, "redis-answers", tolerated=(ResponseError,)),
        streams=GuardedRedis(client, "redis-streams"),
        sessions=GuardedRedis(client, "redis-sessions", tolerated=(ResponseError,)),
        others=GuardedRedis(client, "redis-others", timeout_s=OTHERS_TIMEOUT_S),
    )
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_timeout_s)
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, timeout=timeout))
    engines = EngineClient(
        connect_timeout_s=limits.connect_timeout_s,
        keep_alive_s=KEEP_ALIVE_S,
        max_answer_bytes=limits.max_answer_bytes,
    )
    stack.callback(engines.close)
    return Connections(database, redis, session, engines)


def open_deployments(settings: Settings, session: aiohttp.ClientSession) -> Deployments:
    """Build the clients of the private ingress and of the engines that its directory lists."""
    limits = settings.gateway
    cluster_key = os.environ[CLUSTER_KEY]
    ingress = addresses.ingress_url(settings)
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
    embedder = None
    if settings.embedder.enabled:
        embedder = EmbedderClient(
            url=f"{ingress}/{settings.embedder.application}",
            cluster_key=cluster_key,
            session=session,
            model=settings.embedder.id,
            dimensions=settings.embedder.dimensions,
            probe_interval_s=limits.probe_interval_s,
            retry_after_s=limits.retry_after_s,
            timeout_s=EMBEDDER_TIMEOUT_S,
        )
    return Deployments(
        engine_registry,
        embedder,
        None if embedder is None else MemoryEmbedder(embedder, settings.embedder.revision),
        wiring.open_reranker(settings, ingress, cluster_key, session),
        wiring.open_reranker(settings, ingress, cluster_key, session, EMBEDDER_TIMEOUT_S),
    )
