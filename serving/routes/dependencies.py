"""The routes' dependencies: the gateway's collaborators, and the caller's API key."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.document_reader import DocumentReader
from memory.erasure import Forgetter
from memory.service import MemoryService
from serving.auth.api_keys import ApiKeyAuthenticator
from serving.auth.key_usage import KeyUsage
from serving.auth.throttle import AuthThrottle
from serving.cache.documents import DocumentCache
from serving.config.schema import Settings
from serving.doctor.collector import Doctor
from serving.engines.embedder import EmbedderClient
from serving.engines.registry import EngineRegistry
from serving.engines.reranker import RerankerClient
from serving.engines.tokenizer import EngineTokenizer
from serving.errors import DatabaseAway
from serving.generation.agent import AgentParts
from serving.generation.catalogue import ModelCatalogue
from serving.ledger.ledger import Ledger
from serving.limits.limiter import Limiter
from serving.observability.metrics import Readings
from serving.observability.request_context import exchange_of
from serving.observability.telemetry import Telemetry
from serving.privacy.consent import Consents
from serving.resilience.drain import Drain
from serving.resilience.throttle import Throttle
from serving.routes.agents.accounts import Accounts
from serving.routes.openai.parts import GeneratingParts
from serving.routes.operations.service_metrics import Overview
from serving.safety.gate import SafetyGate
from storage.api_keys import KeyRecord
from storage.database import AWAY

CALLER = "bondhu.caller"  # key of the caller in a request's scope, after authentication


@dataclass(frozen=True)
class Gateway:
    """One gateway worker's collaborators."""

    settings: Settings
    engine_registry: EngineRegistry
    embedder: EmbedderClient | None
    reranker: RerankerClient | None
    tokenizer: EngineTokenizer
    models: ModelCatalogue
    generating: GeneratingParts
    agents: AgentParts
    keys: ApiKeyAuthenticator[KeyRecord]
    lookups: Throttle
    sign_ins: AuthThrottle
    key_uses: KeyUsage
    drain: Drain
    consents: Consents
    safety: SafetyGate
    limiter: Limiter
    cached: DocumentCache
    accounts: Accounts
    database: AsyncEngine
    ledger: Ledger
    telemetry: Telemetry
    readings: Readings
    survey: Callable[[], Awaitable[Overview]]
    doctor: Doctor
    memory: MemoryService
    documents: DocumentReader
    forgetter: Forgetter
    now: Callable[[], datetime]
    may_see_all: Callable[[KeyRecord], bool]  # whether a key may access data of other applications
    started_at: int  # unix seconds


async def gateway_of(http_request: Request) -> Gateway:  # async, because FastAPI runs plain functions in a thread
    """The worker's collaborators, from the application's lifespan."""
    return http_request.app.state.gateway  # type: ignore[no-any-return]  # Starlette's state is untyped


def holds_scrape_token(http_request: Request, gateway: Gateway) -> bool:
    """Whether a request has the scrape token, which gives access to metrics and health details."""
    presented = http_request.headers.get("authorization", "").encode("utf-8", "surrogateescape")
    token = gateway.telemetry.scrape_token
    return bool(token) and secrets.compare_digest(presented, f"Bearer {token}".encode())


async def caller_of(http_request: Request, gateway: Annotated[Gateway, Depends(gateway_of)]) -> KeyRecord:
    """The record of the request's API key; cached in the request's scope.

    Raises Unauthenticated, TooManyKeys, DatabaseAway if a key cannot be looked up, and ShuttingDown during the drain.
    """
    cached: KeyRecord | None = http_request.scope.get(CALLER)
    if cached is not None:
        return cached
    gateway.drain.admit()
    address = http_request.client.host if http_request.client else ""
    try:
        record = await gateway.keys.admit(_authorization(http_request), address)
    except AWAY as problem:
        raise DatabaseAway from problem
    http_request.scope[CALLER] = record
    gateway.key_uses.note(record.id)
    exchange_of(http_request.scope).noted["app"] = record.app
    return record


def _authorization(http_request: Request) -> str | None:
    """The `Authorization` header; Anthropic's clients send a key as `x-api-key` instead."""
    authorization = http_request.headers.get("authorization")
    if authorization is None and (key := http_request.headers.get("x-api-key")):
        return f"Bearer {key}"
    return authorization


Worker = Annotated[Gateway, Depends(gateway_of)]
Caller = Annotated[KeyRecord, Depends(caller_of)]
