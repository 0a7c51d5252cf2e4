"""How the gateway's collaborators are made from settings: the longer part of the composition root (`serving.app`)."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import aiohttp
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from agents.safety.reply import TEXT
from memory.shelf import Shelf
from models.gemini import Gemini
from serving import exchange
from serving.active_users import ActiveUsers
from serving.admission import Gate, slots_of_worker
from serving.answer_cache import AnswerCache, Makers
from serving.answer_store import AnswerStore
from serving.chains import Chains
from serving.config_schema import DEFAULT_MAX_IN_FLIGHT, ExternalSpec
from serving.consents import Consents
from serving.credentials import GEMINI_KEY
from serving.degraded import Degraded
from serving.drain import Drain
from serving.embeddings import Embedder
from serving.engine_client import EngineClient
from serving.external_target import ExternalTarget
from serving.fleet import Fleet
from serving.ledger import Ledger
from serving.limit_shares import Shares
from serving.limit_store import LimitStore
from serving.limits import AWAY, Limiter
from serving.live import Live, LiveSettings, live_of
from serving.local_target import LocalTarget
from serving.memory_embedder import MemoryEmbedder
from serving.metrics import Observed
from serving.outside import Outside
from serving.prices import Prices
from serving.publisher import Publisher
from serving.reranker import Reranker
from serving.semantic_cache import Semantic
from serving.sensitive import Detect
from serving.settings import Settings
from serving.tape_store import TapeStore
from serving.tapes import Tapes
from serving.telemetry import Telemetry
from serving.traces import Tracing
from storage.consents import find_consent
from storage.embeddings import Space
from storage.ledger import insert_requests

log = logging.getLogger(__name__)

LIMIT_WINDOW_S = 60.0  # "per minute"


class Observer:
    """Tells metrics, the access line and the count of active users of every request that ended.

    Args:
        telemetry: the worker's.
        active_users: of all workers.

    """

    def __init__(self, telemetry: Telemetry, active_users: ActiveUsers) -> None:
        self._telemetry = telemetry
        self._active_users = active_users

    def __call__(self, row: Mapping[str, Any]) -> None:
        """`row` is the ledger's."""
        segments = row["segments"]
        reason = segments[-1].reason if segments and segments[-1].reason != "asked" else None
        counts = {name: row[name] for name in ("prompt_tokens", "cached_tokens", "completion_tokens")}
        told = {"model": row["model"], "ttft_s": row["ttft_s"], **counts}
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
                **told,
            )
        )
        user = row["end_user"]
        if user is not None:
            self._active_users.note(row["app"], user)
        seen = exchange.current.get()
        if seen is not None:
            who = {} if user is None else {"user": self._telemetry.user_hash(row["app"], user)}
            seen.noted |= {**who, "class": row["class"], **told}


def open_limiter(settings: Settings, redis: "Redis", worker: str) -> Limiter:
    """The limits; `worker` names this process."""
    hold_s = settings.gateway.request_timeout_s * 2
    return Limiter(
        store=LimitStore(redis, window_s=LIMIT_WINDOW_S, hold_s=hold_s),
        shares=Shares(window_s=LIMIT_WINDOW_S, workers=settings.gateway.workers),
        tiers=settings.tiers,
        worker=worker,
    )


def open_answers(settings: Settings, redis: "Redis", fleet: Fleet, embedder: Embedder | None) -> AnswerCache:
    """The cache of answers; `redis` answers in bytes."""
    rules = settings.cache
    semantic = None
    if embedder is not None:
        semantic = Semantic(
            embedder.embed,
            embedder=f"{settings.embedder.id} {settings.embedder.path}",
            dimensions=embedder.dimensions,
            threshold=rules.semantic.threshold,
            timeout_s=rules.semantic.timeout_s,
            most=rules.semantic.most_questions,
        )
    return AnswerCache(
        AnswerStore(redis, most_fields=rules.most_answers),
        rules=rules,
        makers=lambda model: Makers(fleet.fingerprint(model), fleet.labels(model)),
        semantic=semantic,
        new_era=lambda: secrets.token_hex(8),
    )


def open_ledger(settings: Settings, database: AsyncEngine, limiter: Limiter, worker: str, observer: Observer) -> Ledger:
    """The ledger; it has what a dead worker reserved given back."""
    prices = prices_of(live_of(settings))

    async def refund(app: str, entry_id: str, tokens_reserved: int) -> None:
        log.warning("request %s of %s died with its worker; %d tokens were reserved", entry_id, app, tokens_reserved)
        with contextlib.suppress(*AWAY):  # the limits' own sweep does it later
            await limiter.close_by_id(app, entry_id, None)

    return Ledger(
        directory=settings.var_dir / "ledger",
        boot_id=worker,
        insert=partial(insert_requests, database),
        on_lost=refund,
        on_end=observer,
        prices=prices,
        write_s=settings.ledger.write_s,
        sync_s=settings.ledger.sync_s,
        adopt_s=settings.ledger.adopt_s,
        max_bytes=settings.ledger.max_journal_bytes,
    )


def open_tapes(settings: Settings, redis: "Redis", worker: str, drain: Drain) -> tuple[Tapes, Publisher]:
    """The recordings of answers, and who writes them to Redis."""
    streams = settings.streams
    alone = settings.gateway.workers == 1 and settings.redis.url is None
    shares = streams.coalesce == "all" or (streams.coalesce == "auto" and not alone)
    store = TapeStore(redis, worker)
    publisher = Publisher(store, most_bytes=streams.max_tape_bytes, listens=shares)
    tapes = Tapes(
        store=store,
        publisher=publisher,
        shares=shares,
        drain=drain,
        most_bytes=streams.max_tape_bytes,
        keep_s=streams.keep_s,
    )
    return tapes, publisher


def local_target(settings: Settings, fleet: Fleet, engines: EngineClient, tracing: Tracing, model: str) -> LocalTarget:
    """The target of a local model, with a gate of its own."""
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
        tracing=tracing,
        ttft_timeout_s=spec.ttft_timeout_s if spec else None,
        stall_timeout_s=spec.stall_timeout_s if spec else None,
    )


def open_outside(
    environ: Mapping[str, str], telemetry: Telemetry, consents: Consents, audit: Callable[[Mapping[str, Any]], None]
) -> Outside:
    """The models outside; those whose key is in the environment are on."""
    key = environ.get(GEMINI_KEY, "")

    def make(id_: str, spec: ExternalSpec, detect: Detect) -> ExternalTarget | None:
        if not key:
            return None
        gemini = Gemini(
            model=spec.model,
            api_key=key,
            base_url=spec.base_url,
            thinking_tokens=spec.thinking_tokens,
            ttft_timeout_s=spec.ttft_timeout_s,
            stall_timeout_s=spec.stall_timeout_s,
            total_timeout_s=spec.timeout_s,
            now=time.time,
            new_id=new_id,
        )
        return ExternalTarget(
            id_,
            gemini,
            tracing=telemetry.tracing,
            allowed=consents.allowed,
            detect=detect,
            audit=audit,
            user_hash=telemetry.user_hash,
        )

    return Outside(make)


def open_live(
    settings: Settings, *, fleet: Fleet, chains: Chains, outside: Outside, limiter: Limiter, ledger: Ledger
) -> Live:
    """The settings that may change while the worker runs; its parts use those that it starts with, and new ones."""

    def use(new: LiveSettings) -> None:
        chains.use(new.fallback, outside.use(new))
        limiter.use(new.tiers)
        ledger.use(prices_of(new))

    first = live_of(settings)
    use(first)
    return Live(first, lambda: fleet.routing.get("live"), use)


def open_consents(database: AsyncEngine, app_covers_users: Callable[[], bool]) -> Consents:
    """Who consented to what, as SQL has it."""
    return Consents(lambda app, user: find_consent(database, app=app, user=user), app_covers_users=app_covers_users)


def open_degraded(live: Callable[[], LiveSettings], detect: Detect) -> Degraded:
    """What is said where nobody may be asked."""
    return Degraded(
        text=lambda: live().consent.degraded_text,
        crisis_text=lambda: live().consent.crisis_text or TEXT,
        detect=detect,
        now=time.time,
        new_id=new_id,
    )


def prices_of(live: LiveSettings) -> Prices:
    """What tokens and engine seconds cost."""
    return Prices(live.engine_second_usd, live.prices)


def new_id() -> str:
    """An id unlike any other."""
    return secrets.token_hex(12)


def open_shelf(settings: Settings, database: AsyncEngine, embedder: MemoryEmbedder | None) -> Shelf:
    """The worker's views of people's pasts; without an embedder they have words only."""
    space, dimensions = (Space("none", ""), 1) if embedder is None else (embedder.space, embedder.dimensions)
    return Shelf(database, space, dimensions=dimensions, max_bytes=settings.memory.index_bytes)


def open_reranker(
    settings: Settings, ingress: str, cluster_key: str, session: aiohttp.ClientSession
) -> Reranker | None:
    """The cross-encoder's client, where one is configured; `ingress` is the private one's base URL."""
    spec = settings.reranker
    if spec is None:
        return None
    return Reranker(
        url=f"{ingress}/reranker",
        cluster_key=cluster_key,
        session=session,
        most=spec.most_candidates,
        timeout_s=spec.timeout_s,
    )


def redis_connections(redis: "Redis") -> Mapping[str, float]:
    """The pool's connections by state."""
    counts = redis.connection_pool.get_connection_count()
    return {str(labels["db.client.connection.state"]): count for count, labels in counts}


def sql_connections(database: AsyncEngine) -> Mapping[str, float]:
    """The pool's connections by state; a SQLite file has no pool."""
    pool = database.pool
    return {"idle": pool.checkedin(), "used": pool.checkedout()} if isinstance(pool, QueuePool) else {}
