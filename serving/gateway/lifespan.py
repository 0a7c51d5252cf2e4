"""A gateway worker's life: its collaborators are built in order, its tasks run, and everything is closed in reverse.

Whatever fails at the start or at the end, all that was opened is closed: last Redis, SQL and tracing.
"""

import asyncio
import gc
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

from fastapi import FastAPI

from agents.safety.step import SafetyStep, detects_self_harm
from memory.document_reader import DocumentReader
from memory.erasure import ErasureTarget, Forgetter
from memory.intents.executor import IntentExecutor
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from serving.auth.api_keys import ApiKeyAuthenticator
from serving.auth.key_usage import KeyUsage
from serving.auth.throttle import AuthThrottle
from serving.cache.documents import DocumentCache
from serving.cache.erasure import ResponseErasure
from serving.cache.response_cache import ResponseCache
from serving.config.credentials import CLUSTER_KEY, ERASURE_KEY, load_secrets
from serving.config.load import Settings
from serving.config.reloadable import SettingsWatcher
from serving.engines.prefix_salt import PrefixSalt
from serving.engines.tokenizer import EngineTokenizer
from serving.gateway import http_protocol, wiring
from serving.gateway.connections import Connections, Deployments, open_connections, open_deployments
from serving.gateway.watchdog import Watchdog
from serving.generation.agent import AgentParts
from serving.generation.catalogue import ModelCatalogue
from serving.generation.external_pool import ExternalPool
from serving.generation.fallback import FallbackChains
from serving.generation.planner import Planner
from serving.ledger.ledger import Ledger
from serving.limits.limiter import Limiter
from serving.observability import sql_watch
from serving.observability.active_users import ActiveUsers
from serving.observability.metrics import Readings
from serving.observability.telemetry import Telemetry
from serving.privacy.audit_log import AuditLog
from serving.privacy.consent import Consents
from serving.privacy.detector import Detect
from serving.resilience.drain import Drain
from serving.resilience.tasks import stopped
from serving.resilience.throttle import Throttle
from serving.routes.counted import LOOKUPS_AT_ONCE, LOOKUPS_PER_S
from serving.routes.dependencies import Gateway
from serving.routes.openai.parts import GeneratingParts
from serving.routes.operations.service_metrics import survey
from serving.streams.erasure import RecordingErasure
from serving.streams.recorder import Recorder
from storage.api_keys import find_key
from storage.erasure.log import ErasureLog

ADMIN_TIER = "admin"
GC_THRESHOLDS = 10_000, 20, 20  # Python's own, 700, 10, 10, took a tenth of the processor time of a chat

Now = Callable[[], datetime]


class Work(Protocol):
    """A collaborator that works in the background."""

    async def run(self) -> None:
        """Work until cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class Accounting:
    """Counts requests, and limits and records them."""

    key_uses: KeyUsage
    active_users: ActiveUsers
    limiter: Limiter
    ledger: Ledger


@dataclass(frozen=True, slots=True)
class Generation:
    """Which models and agents exist, and how they are reached."""

    consents: Consents
    external: ExternalPool
    in_crisis: Detect
    agents: AgentParts
    catalogue: ModelCatalogue
    chains: FallbackChains


@dataclass(frozen=True, slots=True)
class Kept:
    """Responses that are kept: cached ones, documents, and recordings of streams."""

    answers: ResponseCache
    documents: DocumentCache
    streams: wiring.Streams


@dataclass(frozen=True, slots=True)
class Memory:
    """What people said, and what erases it."""

    index_cache: IndexCache
    service: MemoryService
    forgetter: Forgetter
    intents: IntentExecutor


@asynccontextmanager
async def lifespan(app: FastAPI, settings: Settings, telemetry: Telemetry) -> AsyncIterator[dict[str, Any]]:
    """Provide `app.state.gateway` while the application runs."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, telemetry.tracing.close)
        gateway = app.state.gateway = await open_gateway(stack, settings, telemetry)
        gc.collect()
        gc.freeze()  # excludes the half a million objects of the start-up from later collections
        gc.set_threshold(*GC_THRESHOLDS)
        with gateway.drain.on_signals():
            yield {http_protocol.STATE_KEY: wiring.connection_limits(settings.gateway)}


async def open_gateway(stack: AsyncExitStack, settings: Settings, telemetry: Telemetry) -> Gateway:
    """Build a worker's collaborators and start their tasks; `stack` drains, stops and closes them."""
    now = partial(datetime.now, UTC)
    worker = secrets.token_hex(8)  # unique name of this process
    connections = await open_connections(stack, settings)
    sql_watch.watch(connections.database, telemetry.metrics)
    deployments = open_deployments(settings, connections.session)
    reloadable = wiring.open_settings_watcher(settings, deployments.engine_registry)
    accounting = open_accounting(stack, settings, telemetry, connections, reloadable, worker)
    step = wiring.open_safety_step(settings, deployments.memory_embedder)
    generation = open_generation(stack, settings, telemetry, connections, deployments, reloadable, step, now)
    kept = open_kept(settings, connections, deployments, worker, now)
    memory = open_memory(stack, settings, connections, deployments, kept, generation.agents.states, now)
    safety, referrals = wiring.open_safety(
        settings, step, generation.chains, connections.database, lambda: reloadable.settings, now
    )
    stack.push_async_callback(referrals.close)
    drain = Drain(settings.gateway.drain_s)
    planner = Planner(
        rules=settings.memory.chat,
        timeout_s=settings.gateway.request_timeout_s,
        reserved_tokens=settings.gateway.reserve_completion_tokens,
        models=generation.catalogue,
        chains=generation.chains,
        agents=generation.agents,
        limiter=accounting.limiter,
        answers=kept.answers,
        memory=memory.service,
        intents=memory.intents,
        degraded=wiring.open_degraded(lambda: reloadable.settings, generation.in_crisis),
        safety=safety,
        drain=drain,
        now=now,
    )
    recorder = wiring.open_recorder(settings, kept.streams, planner)
    readings = open_readings(connections, generation, recorder)
    registry, redis, database = deployments.engine_registry, connections.redis.others, connections.database
    doctor = wiring.open_doctor(settings, telemetry, generation.catalogue, registry, redis, database, readings)
    works = (reloadable, accounting.key_uses, referrals, accounting.active_users, accounting.limiter)
    start(stack, (registry, deployments.embedder, *works, connections.redis.answers, connections.redis.sessions, redis))
    start(stack, (accounting.ledger, kept.streams.replicator, memory.index_cache, doctor))
    start(stack, (Watchdog(settings.gateway.hang_timeout_s),))
    stack.push_async_callback(stopped, asyncio.create_task(telemetry.metrics.run(readings)))
    stack.push_async_callback(recorder.close)  # while the replicator still runs
    stack.callback(drain.begin)
    return Gateway(
        settings=settings,
        engine_registry=registry,
        embedder=deployments.embedder,
        reranker=deployments.ranker,
        tokenizer=EngineTokenizer(registry, connections.engines),
        models=generation.catalogue,
        generating=GeneratingParts(
            settings=settings,
            models=generation.catalogue,
            planner=planner,
            recorder=recorder,
            ledger=accounting.ledger,
            limiter=accounting.limiter,
            degraded=planner.degraded,
            tiers=lambda: reloadable.settings.tiers,
            count_unchecked=telemetry.metrics.count_unchecked,
        ),
        agents=generation.agents,
        keys=ApiKeyAuthenticator(partial(find_key, database)),
        lookups=Throttle(time.monotonic, burst=LOOKUPS_AT_ONCE, refill_s=1 / LOOKUPS_PER_S),
        sign_ins=AuthThrottle(time.monotonic),
        key_uses=accounting.key_uses,
        drain=drain,
        consents=generation.consents,
        safety=safety,
        limiter=accounting.limiter,
        cached=kept.documents,
        accounts=wiring.open_accounts(settings, database, connections.session, now),
        database=database,
        ledger=accounting.ledger,
        telemetry=telemetry,
        readings=readings,
        survey=partial(
            survey,
            models=generation.catalogue,
            engine_registry=registry,
            embedder=deployments.embedder,
            redis=redis,
            database=database,
            users=accounting.active_users,
        ),
        doctor=doctor,
        memory=memory.service,
        documents=DocumentReader(os.environ, settings.memory.import_timeout_s),
        forgetter=memory.forgetter,
        now=now,
        may_see_all=lambda caller: caller.tier == ADMIN_TIER,
        started_at=int(time.time()),
    )


def start(stack: AsyncExitStack, works: Iterable[Work | None]) -> None:
    """Start tasks, each of which `stack` stops, whether or not another one fails."""
    for work in works:
        if work is not None:
            stack.push_async_callback(stopped, asyncio.create_task(work.run()))


def open_accounting(
    stack: AsyncExitStack,
    settings: Settings,
    telemetry: Telemetry,
    connections: Connections,
    reloadable: SettingsWatcher,
    worker: str,
) -> Accounting:
    """Build limits, ledger and counts; `worker` is the unique name of this process."""
    active_users = ActiveUsers(connections.redis.others, telemetry.user_hash)
    stack.push_async_callback(active_users.flush)
    limiter = wiring.open_limiter(settings, connections.redis.limits, worker)
    observer = wiring.Observer(telemetry, active_users)
    ledger = wiring.open_ledger(settings, connections.database, limiter, worker, observer)
    stack.push_async_callback(ledger.close)
    stack.push_async_callback(limiter.leave)
    key_uses = KeyUsage(connections.redis.others)
    stack.push_async_callback(key_uses.flush)
    reloadable.subscribe(lambda new: limiter.reload(new.tiers))
    reloadable.subscribe(lambda new: ledger.reload(wiring.prices_of(new)))
    return Accounting(key_uses, active_users, limiter, ledger)


def open_generation(
    stack: AsyncExitStack,
    settings: Settings,
    telemetry: Telemetry,
    connections: Connections,
    deployments: Deployments,
    reloadable: SettingsWatcher,
    step: SafetyStep,
    now: Now,
) -> Generation:
    """Build the models' targets, the agents, and the catalogue of both."""
    consents = wiring.open_consents(connections.database, lambda: reloadable.settings.consent.app_covers_users)
    audit = AuditLog(settings.var_dir / "audit", keep_days=settings.observability.audit_days)
    external = wiring.open_external_pool(
        os.environ, telemetry, consents, audit.write, settings.gateway.max_answer_bytes
    )
    stack.push_async_callback(external.close)
    in_crisis = detects_self_harm(external.detect, step)
    log = open_erasure_log(settings, now)
    sessions = wiring.open_sessions(connections.database, connections.redis.sessions, now, log)
    database, session, spans = connections.database, connections.session, telemetry.tracing.child
    agents = wiring.open_agents(settings, database, session, in_crisis, now, sessions, spans)
    catalogue = ModelCatalogue(
        settings.ids,
        deployments.engine_registry,
        deployments.embedder,
        agents.registry,
        lambda: reloadable.settings.external,
        settings.agents.model,
    )
    salt = PrefixSalt(os.environ[CLUSTER_KEY])
    local = wiring.LocalTargets(
        settings, deployments.engine_registry, connections.engines, telemetry.tracing, salt, telemetry.metrics
    )
    chains = FallbackChains(local, local.waiting, catalogue.is_external)
    reloadable.subscribe(lambda new: chains.reload(new.fallback, external.reload(new)))
    return Generation(consents, external, in_crisis, agents, catalogue, chains)


def open_readings(connections: Connections, generation: Generation, recorder: Recorder) -> Readings:
    """Build the readings of this worker's state, for metrics and doctor."""
    return Readings(
        models_ready=lambda: {model: state.ready for model, state in generation.catalogue.states().items()},
        queue_depth=generation.chains.queue_depth,
        breakers_open=lambda: connections.redis.breakers() | generation.external.breakers(),
        redis_connections=partial(wiring.redis_connections, connections.redis.others),
        sql_connections=partial(wiring.sql_connections, connections.database),
        recordings=recorder.numbers,
    )


def open_kept(settings: Settings, connections: Connections, deployments: Deployments, worker: str, now: Now) -> Kept:
    """Build what keeps responses."""
    return Kept(
        wiring.open_response_cache(
            settings, connections.redis.answers, deployments.engine_registry, deployments.embedder
        ),
        DocumentCache(connections.redis.others, now),
        wiring.open_streams(settings, connections.redis.streams, worker),
    )


def open_memory(
    stack: AsyncExitStack,
    settings: Settings,
    connections: Connections,
    deployments: Deployments,
    kept: Kept,
    sessions: ErasureTarget,
    now: Now,
) -> Memory:
    """Build people's memory, and what erases a person's data here and in the other places that hold some of it."""
    database, embedder = connections.database, deployments.memory_embedder
    index_cache = wiring.open_index_cache(settings, database, embedder)
    stack.callback(index_cache.close)
    service = MemoryService(database, index_cache, embedder, now, deployments.reranker)
    targets: dict[str, ErasureTarget] = {
        "answers": ResponseErasure(kept.answers),
        "streams": RecordingErasure(kept.streams.recordings, kept.streams.store, kept.streams.replicator),
        "documents": kept.documents,
        "sessions": sessions,
    }
    forgetter = Forgetter(database, index_cache, targets, now, open_erasure_log(settings, now))
    undo = timedelta(seconds=settings.memory.undo_s)
    return Memory(index_cache, service, forgetter, IntentExecutor(database, service, forgetter, now, undo=undo))


def open_erasure_log(settings: Settings, now: Now) -> ErasureLog:
    """Build what records erasures, so that no backup brings back what was erased."""
    key = os.environ.get(ERASURE_KEY) or load_secrets(settings.var_dir).erasure_key or os.environ[CLUSTER_KEY]
    return ErasureLog(key, now)
