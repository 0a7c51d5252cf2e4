"""What the routes are given: the collaborators that start-up built, typed, in one place."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from memory.forget import Forgetter
from memory.obey import Wishes
from memory.store import Store
from serving.active_users import ActiveUsers
from serving.answer_cache import AnswerCache
from serving.auth import KeyRing
from serving.chains import Chains
from serving.config_schema import Settings
from serving.consents import Consents
from serving.degraded import Degraded
from serving.drain import Drain
from serving.embeddings import Embedder
from serving.errors import DatabaseAway
from serving.exchange import exchange_of
from serving.fleet import Fleet
from serving.key_uses import KeyUses
from serving.ledger import Ledger
from serving.limits import Limiter
from serving.live import Live
from serving.metrics import Readings
from serving.tapes import Tapes
from serving.telemetry import Telemetry
from storage.database import AWAY
from storage.keys import KeyRecord


@dataclass(frozen=True)
class Gateway:
    """One gateway worker's collaborators."""

    settings: Settings
    fleet: Fleet
    embedder: Embedder | None
    keys: KeyRing[KeyRecord]
    key_uses: KeyUses
    chains: Chains
    tapes: Tapes
    drain: Drain
    consents: Consents
    degraded: Degraded
    live: Live
    limiter: Limiter
    answers: AnswerCache
    database: AsyncEngine
    redis: Redis
    ledger: Ledger
    telemetry: Telemetry
    readings: Readings
    active_users: ActiveUsers
    memory: Store
    forgetter: Forgetter
    wishes: Wishes
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
    """The key that the request presents.

    Raises Unauthenticated, DatabaseAway for a key that has to be looked up and cannot, and ShuttingDown when nothing
    may begin any more.
    """
    gateway.drain.admit()
    try:
        record = await gateway.keys.admit(request.headers.get("authorization"))
    except AWAY as problem:
        raise DatabaseAway from problem
    gateway.key_uses.note(record.id)
    exchange_of(request.scope).noted["app"] = record.app
    return record


Worker = Annotated[Gateway, Depends(gateway_of)]
Caller = Annotated[KeyRecord, Depends(caller_of)]
