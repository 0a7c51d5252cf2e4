"""Builds the gateway's collaborators from settings, one function each; `serving.gateway.lifespan` calls them."""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import aiohttp
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from agents.base import ModelTraits, Spans
from agents.budget import RunLimits
from agents.chat.persona import read_personas
from agents.outside.options import (
    ServiceOptions,
    history_services,
    music_services,
    spotify_tokens,
    video_services,
)
from agents.personality import profile as personality
from agents.registry import Parts, make_agents
from agents.safety.counts import SqlCounts
from agents.safety.jurisdiction import JurisdictionError, duties_of, read_jurisdictions
from agents.safety.reply import TEXT
from agents.safety.step import SafetyStep
from memory.recall.index_cache import IndexCache
from models.provider import Provider, ProviderOptions
from models.providers import PROVIDERS
from serving.admission.gate import Gate, slots_of_worker
from serving.cache.agent_sessions import AgentSessions
from serving.cache.redis_store import ResponseStore
from serving.cache.response_cache import Makers, ResponseCache
from serving.cache.semantic import SemanticCache
from serving.config.errors import ConfigError, Problem, suggest
from serving.config.load import Settings
from serving.config.reloadable import ReloadableSettings, SettingsWatcher, reloadable_of
from serving.config.schema import DEFAULT_MAX_IN_FLIGHT, ExternalSpec, GatewaySettings, ModelSpec
from serving.doctor.collector import Doctor
from serving.doctor.reading import Settled
from serving.engines.embedder import EmbedderClient
from serving.engines.http_client import EngineClient
from serving.engines.memory_embedder import MemoryEmbedder
from serving.engines.prefix_salt import PrefixSalt
from serving.engines.registry import EngineRegistry
from serving.engines.reranker import RerankerClient
from serving.gateway.http_protocol import ConnectionLimits
from serving.gateway.safety_guard import open_guard
from serving.generation.agent import AgentParts
from serving.generation.catalogue import ModelCatalogue
from serving.generation.degraded import Degraded
from serving.generation.external import ExternalTarget
from serving.generation.external_pool import ExternalPool
from serving.generation.fallback import FallbackChains
from serving.generation.local import LocalTarget
from serving.generation.planner import Planner
from serving.ledger.ledger import Ledger
from serving.ledger.pricing import Prices
from serving.limits.limiter import Limiter
from serving.limits.local_fallback import Shares
from serving.limits.redis_store import LimitStore
from serving.observability import request_context
from serving.observability.active_users import ActiveUsers
from serving.observability.metrics import Metrics, Observed, Readings
from serving.observability.telemetry import Telemetry
from serving.observability.tracing import Tracing
from serving.privacy.consent import Consents
from serving.privacy.detector import Detect
from serving.resilience.redis import GuardedRedis
from serving.routes.agents.accounts import Accounts
from serving.routes.operations.service_metrics import JOBS_PREFIX, JOBS_QUEUES
from serving.safety.counting import Referrals
from serving.safety.gate import SafetyGate
from serving.safety.people import People
from serving.safety.sessions import NoticeSessions
from serving.streams.follower import Follower
from serving.streams.recorder import Recorder
from serving.streams.recordings import Recordings
from serving.streams.redis_store import RecordingStore
from serving.streams.replicator import Replicator
from storage.agents.states import SqlStates
from storage.consents import find_consent
from storage.erasure.log import ErasureLog
from storage.memory.people import read_profile
from storage.memory.vectors.embeddings import Space
from storage.requests import insert_requests
from storage.services.links import SqlLinks

log = logging.getLogger(__name__)

CLASSIFIED = "all-minilm-l6-v2"  # the embedder whose vectors the safety classifier learned on
CLASSIFIED_DIMENSIONS = 384
LIMIT_WINDOW_S = 60.0  # "per minute"


class Observer:
    """Reports every ended request to metrics, the access line and the count of active users.

    Args:
        telemetry: the worker's telemetry.
        active_users: counts active users over all workers.

    """

    def __init__(self, telemetry: Telemetry, active_users: ActiveUsers) -> None:
        self._telemetry = telemetry
        self._active_users = active_users

    def count_rejected(self, lines: int) -> None:
        """Count ledger lines that could not become rows."""
        self._telemetry.metrics.count_rejected(lines)

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Report a row of the ledger."""
        segments = row["segments"]
        reason = segments[-1].reason if segments and segments[-1].reason != "asked" else None
        counts = {name: row[name] for name in ("prompt_tokens", "cached_tokens", "completion_tokens")}
        known = {"model": row["model"], "ttft_s": row["ttft_s"], **counts}
        self._telemetry.metrics.observe(
            Observed(
                class_=row["class"],
                endpoint=row["endpoint"],
                outcome=row["outcome"],
                error_code=row["error_code"],
                latency_s=row["latency_s"],
                cache=row["cache"],
                fallback_reason=reason,
                limit=row["error_code"] if row["outcome"] == "rate_limited" else None,
                **known,
            )
        )
        self._telemetry.metrics.count_cost(row["model"], row["cost_microusd"] / 1e6)
        user = row["end_user"]
        if user is not None:
            self._active_users.note(row["app"], user)
        exchange = request_context.current.get()
        if exchange is not None:
            who = {} if user is None else {"user": self._telemetry.user_hash(row["app"], user)}
            exchange.noted |= {**who, "class": row["class"], **known}


def connection_limits(settings: GatewaySettings) -> ConnectionLimits:
    """The limits of connections."""
    return ConnectionLimits(
        max_connections=settings.max_connections,
        max_header_bytes=settings.max_header_bytes,
        header_timeout_s=settings.header_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        write_timeout_s=settings.write_timeout_s,
    )


def open_limiter(settings: Settings, redis: GuardedRedis, worker: str) -> Limiter:
    """The rate limiter; `worker` is the unique name of this process."""
    hold_s = settings.gateway.request_timeout_s * 2
    return Limiter(
        store=LimitStore(redis, window_s=LIMIT_WINDOW_S, hold_s=hold_s),
        shares=Shares(window_s=LIMIT_WINDOW_S, workers=settings.gateway.workers),
        tiers=settings.tiers,
        worker=worker,
    )


def open_response_cache(
    settings: Settings, redis: GuardedRedis, engine_registry: EngineRegistry, embedder: EmbedderClient | None
) -> ResponseCache:
    """The response cache."""
    rules = settings.cache
    semantic = None
    if embedder is not None:
        semantic = SemanticCache(
            embedder.embed,
            embedder=f"{settings.embedder.id} {settings.embedder.path}",
            dimensions=embedder.dimensions,
            threshold=rules.semantic.threshold,
            timeout_s=rules.semantic.timeout_s,
            max_questions=rules.semantic.max_questions,
        )
    return ResponseCache(
        ResponseStore(redis, max_fields=rules.max_answers),
        rules=rules,
        makers=lambda model: Makers(engine_registry.fingerprint(model), engine_registry.labels(model)),
        semantic=semantic,
        new_era=lambda: secrets.token_hex(8),
    )


def open_ledger(settings: Settings, database: AsyncEngine, limiter: Limiter, worker: str, observer: Observer) -> Ledger:
    """The ledger; it refunds reservations of dead workers."""
    prices = prices_of(reloadable_of(settings))

    async def refund(app: str, record_id: str, tokens_reserved: int) -> None:
        log.warning(
            "request %s of %s was lost with its worker; %d tokens were reserved", record_id, app, tokens_reserved
        )
        await limiter.refund_lost(app, record_id)

    return Ledger(
        directory=settings.var_dir / "ledger",
        boot_id=worker,
        insert=partial(insert_requests, database),
        on_lost=refund,
        on_end=observer,
        on_reject=observer.count_rejected,
        prices=prices,
        write_s=settings.ledger.write_s,
        sync_s=settings.ledger.sync_s,
        adopt_s=settings.ledger.adopt_s,
        max_bytes=settings.ledger.max_journal_bytes,
    )


@dataclass(frozen=True, slots=True)
class Streams:
    """The recordings of this worker and those in Redis; `shares`: identical requests are shared with other workers."""

    recordings: Recordings
    store: RecordingStore
    replicator: Replicator
    shares: bool


def open_streams(settings: Settings, redis: GuardedRedis, worker: str) -> Streams:
    """The recordings, and the replicator that copies them to Redis."""
    streams = settings.streams
    alone = settings.gateway.workers == 1 and settings.redis.url is None
    shares = streams.coalesce == "all" or (streams.coalesce == "auto" and not alone)
    store, recordings = RecordingStore(redis, worker), Recordings(streams.keep_s)
    replicator = Replicator(store, recordings, max_bytes=streams.max_recording_bytes, listens=shares)
    return Streams(recordings, store, replicator, shares)


def open_recorder(settings: Settings, streams: Streams, planner: Planner) -> Recorder:
    """The recorder of responses."""
    return Recorder(
        planner=planner,
        recordings=streams.recordings,
        follower=Follower(streams.store, planner.drain),
        replicator=streams.replicator,
        shares=streams.shares,
        drain=planner.drain,
        max_bytes=settings.streams.max_recording_bytes,
        keep_s=settings.streams.keep_s,
    )


class LocalTargets:
    """Makes the targets of local models; a model and its adapters share the gate of their engine.

    Args:
        settings: the worker's settings.
        engine_registry: chooses replicas.
        engines: the HTTP client.
        tracing: makes a span for each attempt.
        salt: computes the `cache_salt` of requests.
        metrics: gets the wait for admission of each request.

    """

    def __init__(
        self,
        settings: Settings,
        engine_registry: EngineRegistry,
        engines: EngineClient,
        tracing: Tracing,
        salt: PrefixSalt,
        metrics: Metrics,
    ) -> None:
        self._metrics = metrics
        self._salt = salt
        self._settings = settings
        self._engine_registry = engine_registry
        self._engines = engines
        self._tracing = tracing
        self._gates: dict[str, Gate] = {}

    def __call__(self, model: str) -> LocalTarget:
        """The target of `model`, which may have been configured after the start."""
        base = self._engine_registry.routing.get("bases", {}).get(model, model)
        spec = self._settings.base_of(base)
        return LocalTarget(
            model,
            gate=self._gate(spec.id if spec else base, spec),
            engine_registry=self._engine_registry,
            engines=self._engines,
            tracing=self._tracing,
            salt=self._salt,
            ttft_timeout_s=spec.ttft_timeout_s if spec else None,
            stall_timeout_s=spec.stall_timeout_s if spec else None,
        )

    def waiting(self) -> Iterator[Mapping[str, int]]:
        """Yield the number of waiting requests by class for each engine."""
        for gate in self._gates.values():
            yield {str(class_): number for class_, number in gate.numbers().waiting.items()}

    def _gate(self, base: str, spec: ModelSpec | None) -> Gate:
        if base not in self._gates:
            max_in_flight = spec.max_in_flight if spec else DEFAULT_MAX_IN_FLIGHT
            workers = self._settings.gateway.workers
            self._gates[base] = Gate(
                model=base,
                rules=self._settings.admission,
                slots=lambda: slots_of_worker(self._engine_registry.replicas(base), max_in_flight, workers),
                retry_after_s=self._settings.gateway.retry_after_s,
                observe=lambda class_, _, waited_s: self._metrics.observe_queue_wait(base, class_, waited_s),
                loop=asyncio.get_running_loop(),
            )
        return self._gates[base]


def open_external_pool(
    environ: Mapping[str, str],
    telemetry: Telemetry,
    consents: Consents,
    audit: Callable[[Mapping[str, Any]], None],
    max_answer_bytes: int,
    providers: Mapping[str, Provider] = PROVIDERS,
) -> ExternalPool:
    """The external models; those whose provider has an API key in the environment are on."""

    def make(id_: str, spec: ExternalSpec, detect: Detect) -> ExternalTarget | None:
        provider = providers[spec.provider]
        key = environ.get(provider.key_variable, "")
        if not key:
            return None
        options = ProviderOptions(
            model=spec.model,
            api_key=key,
            base_url=spec.base_url,
            thinking_tokens=spec.thinking_tokens,
            ttft_timeout_s=spec.ttft_timeout_s,
            stall_timeout_s=spec.stall_timeout_s,
            total_timeout_s=spec.timeout_s,
            max_answer_bytes=max_answer_bytes,
            now=time.time,
            new_id=new_id,
        )
        return ExternalTarget(
            id_,
            provider.open(options),
            tracing=telemetry.tracing,
            allowed=consents.allowed,
            detect=detect,
            audit=audit,
            user_hash=telemetry.user_hash,
        )

    return ExternalPool(make)


def open_settings_watcher(settings: Settings, engine_registry: EngineRegistry) -> SettingsWatcher:
    """The watcher of reloadable settings, which arrive with the routing table."""
    return SettingsWatcher(reloadable_of(settings), lambda: engine_registry.routing.get("live"))


def open_doctor(
    settings: Settings,
    telemetry: Telemetry,
    models: ModelCatalogue,
    engine_registry: EngineRegistry,
    redis: GuardedRedis,
    database: AsyncEngine,
    readings: Readings,
) -> Doctor:
    """Build the doctor of this worker."""
    folder = settings.backup.folder
    return Doctor(
        var_dir=settings.var_dir,
        families=lambda: (telemetry.metric_files or telemetry.metrics.registry).collect(),
        models=models,
        engine_registry=engine_registry,
        redis=redis,
        database=database,
        readings=readings,
        queue_keys={name: JOBS_PREFIX + name for name in JOBS_QUEUES},
        settled=Settled(
            cache_enabled=settings.cache.enabled,
            workers=settings.gateway.workers,
            pool_max=settings.database.pool_max,
            has_autoscaling=any(spec.deployment.autoscaling is not None for spec in settings.served()),
        ),
        certificate_addresses=settings.doctor.certificates,
        backup_folder=None if folder is None else settings.root / folder,
        window_s=settings.doctor.window_s,
        every_s=settings.doctor.sample_s,
    )


def open_consents(database: AsyncEngine, app_covers_users: Callable[[], bool]) -> Consents:
    """The consents in SQL."""
    return Consents(lambda app, user: find_consent(database, app=app, user=user), app_covers_users=app_covers_users)


def open_degraded(reloadable: Callable[[], ReloadableSettings], detect: Detect) -> Degraded:
    """The fixed answers when no model may answer."""
    return Degraded(
        text=lambda: reloadable().consent.degraded_text,
        crisis_text=lambda: reloadable().consent.crisis_text or TEXT,
        detect=detect,
        now=time.time,
        new_id=new_id,
    )


def open_safety_step(settings: Settings, embedder: MemoryEmbedder | None) -> SafetyStep:
    """Build the safety step; it uses the embedder only if the classifier was trained on its vectors."""
    spec = settings.safety
    known = settings.embedder.id == CLASSIFIED and settings.embedder.dimensions == CLASSIFIED_DIMENSIONS
    embed = embedder.embed if embedder is not None and known and spec.classifier != "off" else None
    return SafetyStep(embed=embed, max_wait_s=spec.max_wait_s)


def open_safety(
    settings: Settings,
    step: SafetyStep,
    chains: FallbackChains,
    database: AsyncEngine,
    reloadable: Callable[[], ReloadableSettings],
    now: Callable[[], datetime],
) -> tuple[SafetyGate, Referrals]:
    """Build the safety gate, and the counter of its referrals."""
    spec = settings.safety
    try:
        jurisdictions = read_jurisdictions(settings.root / spec.places)
        duties_of(jurisdictions, spec.jurisdictions)
    except JurisdictionError as error:
        raise ConfigError([Problem("", "safety.places", str(error))]) from error
    referrals = Referrals(SqlCounts(database))
    gate = SafetyGate(
        step,
        spec,
        guard=open_guard(spec.guard, chains),
        jurisdictions=jurisdictions,
        people=People(partial(read_profile, database), now),
        sessions=NoticeSessions(SqlStates(database, now)),
        referrals=referrals,
        crisis_text=lambda: reloadable().consent.crisis_text,
        now=now,
    )
    return gate, referrals


def open_sessions(
    database: AsyncEngine, redis: GuardedRedis, now: Callable[[], datetime], erasure_log: ErasureLog
) -> AgentSessions:
    """What agents store about people, with the sessions of those who talk to them."""
    return AgentSessions(SqlStates(database, now, log=erasure_log, logged=[personality.AGENT]), redis, new_id)


def open_agents(
    settings: Settings,
    database: AsyncEngine,
    session: aiohttp.ClientSession,
    detect: Detect,
    now: Callable[[], datetime],
    states: AgentSessions,
    spans: Spans,
) -> AgentParts:
    """The agents, with the gateway's collaborators that their runs use."""
    spec = settings.agents
    personas = read_personas(settings.root / spec.personas)
    if spec.persona not in personas:
        message = f"there is no persona `{spec.persona}` in {spec.personas}{suggest(spec.persona, personas)}"
        raise ConfigError([Problem("", "agents.persona", message)])
    limits = spec.limits
    options = ServiceOptions.read(settings.services.model_dump(), os.environ)
    music = music_services(options, session, database, now)
    video = video_services(options, session, database, now)
    return AgentParts(
        registry=make_agents(Parts(personas, spec.persona, music, video)),
        states=states,
        limits=RunLimits(limits.max_steps, limits.max_tokens, limits.max_s, limits.max_outside_calls),
        traits=lambda model: traits_of(settings.base_of(model)),
        detect=detect,
        now=now,
        new_id=new_id,
        spans=spans,
    )


def open_accounts(
    settings: Settings, database: AsyncEngine, session: aiohttp.ClientSession, now: Callable[[], datetime]
) -> Accounts:
    """Build the accounts at external services."""
    options = ServiceOptions.read(settings.services.model_dump(), os.environ)
    tokens = spotify_tokens(options, session, database, now)
    return Accounts(SqlLinks(database, now), tokens, frozenset(history_services(options, session, now)))


def traits_of(spec: ModelSpec | None) -> ModelTraits:
    """The traits of a model from its file; a quarter of its context is reserved for the completion."""
    if spec is None:
        return ModelTraits()
    usual = ModelTraits(spec.chooses, spec.plans, detects_intents=spec.detects_intents)
    return usual if spec.context_tokens is None else replace(usual, max_prompt_tokens=spec.context_tokens * 3 // 4)


def prices_of(reloadable: ReloadableSettings) -> Prices:
    """The prices of tokens and engine seconds."""
    return Prices(reloadable.engine_second_usd, reloadable.prices)


def new_id() -> str:
    """A unique id."""
    return secrets.token_hex(12)


def open_index_cache(settings: Settings, database: AsyncEngine, embedder: MemoryEmbedder | None) -> IndexCache:
    """The worker's index cache; without an embedder, indexes only have words."""
    space, dimensions = (Space("none", ""), 1) if embedder is None else (embedder.space, embedder.dimensions)
    return IndexCache(database, space, dimensions=dimensions, max_bytes=settings.memory.index_bytes)


def open_reranker(
    settings: Settings, ingress: str, cluster_key: str, session: aiohttp.ClientSession, timeout_s: float | None = None
) -> RerankerClient | None:
    """A client of the reranker, if one is configured; `ingress` is the base URL of the private ingress."""
    spec = settings.reranker
    if spec is None:
        return None
    return RerankerClient(
        url=f"{ingress}/reranker",
        cluster_key=cluster_key,
        session=session,
        max_candidates=spec.max_candidates,
        timeout_s=timeout_s or spec.timeout_s,
    )


def redis_connections(redis: GuardedRedis) -> Mapping[str, float]:
    """The pool's connections by state."""
    counts = redis.client.connection_pool.get_connection_count()
    return {str(labels["db.client.connection.state"]): count for count, labels in counts}


def sql_connections(database: AsyncEngine) -> Mapping[str, float]:
    """The pool's connections by state; a SQLite file has no pool."""
    pool = database.pool
    return {"idle": pool.checkedin(), "used": pool.checkedout()} if isinstance(pool, QueuePool) else {}
