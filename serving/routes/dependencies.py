"""What the routes are given: the collaborators that start-up built, typed, in one place."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.document_reader import DocumentReader
from memory.erasure import Forgetter
from memory.intents.executor import IntentExecutor
from memory.service import MemoryService
from serving.auth.api_keys import ApiKeyAuthenticator
from serving.auth.key_usage import KeyUsage
from serving.cache.response_cache import ResponseCache
from serving.config.reloadable import SettingsWatcher
from serving.config.schema import Settings
from serving.doctor.collector import Doctor
from serving.engines.embedder import EmbedderClient
from serving.engines.registry import EngineRegistry
from serving.errors import DatabaseAway
from serving.generation.agent import AgentParts
from serving.generation.catalogue import ModelCatalogue
from serving.generation.degraded import Degraded
from serving.generation.fallback import FallbackChains
from serving.ledger.ledger import Ledger
from serving.limits.limiter import Limiter
from serving.observability.active_users import ActiveUsers
from serving.observability.metrics import Readings
from serving.observability.request_context import exchange_of
from serving.observability.telemetry import Telemetry
from serving.privacy.consent import Consents
from serving.resilience.drain import Drain
from serving.streams.recorder import Recorder
from storage.api_keys import KeyRecord
from storage.database import AWAY

CALLER = "bondhu.caller"  # in a request's scope, once it is known


@dataclass(frozen=True)
class Gateway:
    """One gateway worker's collaborators."""

    settings: Settings
    engine_registry: EngineRegistry
    embedder: EmbedderClient | None
    models: ModelCatalogue
    agents: AgentParts
    keys: ApiKeyAuthenticator[KeyRecord]
    key_uses: KeyUsage
    chains: FallbackChains
    recorder: Recorder
    drain: Drain
    consents: Consents
    degraded: Degraded
    live: SettingsWatcher
    limiter: Limiter
    answers: ResponseCache
    database: AsyncEngine
    redis: Redis
    ledger: Ledger
    telemetry: Telemetry
    readings: Readings
    active_users: ActiveUsers
    doctor: Doctor
    memory: MemoryService
    documents: DocumentReader
    forgetter: Forgetter
    wishes: IntentExecutor
    now: Callable[[], datetime]
    may_see_all: Callable[[KeyRecord], bool]  # whether a key may ask about applications other than its own
    started_at: int  # unix seconds


async def gateway_of(request: Request) -> Gateway:  # async: FastAPI runs plain functions in a thread
    """The worker's collaborators, from the application's lifespan."""
    return request.app.state.gateway  # type: ignore[no-any-return]  # Starlette's state is untyped


def holds_scrape_token(request: Request, gateway: Gateway) -> bool:
    """Whether a request presents the token that opens what is told of the service itself."""
    given = request.headers.get("authorization", "").encode("utf-8", "surrogateescape")
    token = gateway.telemetry.scrape_token
    return bool(token) and secrets.compare_digest(given, f"Bearer {token}".encode())


async def caller_of(request: Request, gateway: Annotated[Gateway, Depends(gateway_of)]) -> KeyRecord:
    """The key that the request presents; asked again, the same.

    Raises Unauthenticated, TooManyKeys, DatabaseAway for a key that has to be looked up and cannot, and ShuttingDown
    when nothing may begin any more.
    """
    known: KeyRecord | None = request.scope.get(CALLER)
    if known is not None:
        return known
    gateway.drain.admit()
    address = request.client.host if request.client else ""
    try:
        record = await gateway.keys.admit(request.headers.get("authorization"), address)
    except AWAY as problem:
        raise DatabaseAway from problem
    request.scope[CALLER] = record
    gateway.key_uses.note(record.id)
    exchange_of(request.scope).noted["app"] = record.app
    return record


Worker = Annotated[Gateway, Depends(gateway_of)]
Caller = Annotated[KeyRecord, Depends(caller_of)]
