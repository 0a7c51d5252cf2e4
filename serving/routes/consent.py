"""/api/v1/users/{user}/consent: the consent of an end user; a key only reaches users of its own application."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, StrictBool, ValidationError, model_validator

from serving.errors import DatabaseAway, InvalidRequest
from serving.routes import openapi
from serving.routes.body import read_json
from serving.routes.counted import counted, looked_up
from serving.routes.dependencies import Caller, Gateway, Worker
from storage.api_keys import KeyRecord
from storage.consents import ConsentRecord, find_consent, forget_consent, set_consent
from storage.database import AWAY

router = APIRouter(tags=["consent"])

log = logging.getLogger(__name__)

PATH = "/api/v1/users/{user:path}/consent"  # user names may contain slashes
ANSWER_WITHIN_S = 5.0  # timeout of the database
MAX_BYTES = 1024  # of a body
User = Annotated[str, Path(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ConsentBody(BaseModel):
    """A person's consent."""

    model_config = ConfigDict(extra="forbid")

    allow_external: StrictBool
    allow_sensitive: StrictBool = False

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.allow_sensitive and not self.allow_external:
            raise ValueError("allow_sensitive needs allow_external")
        return self


@router.get(PATH, responses=openapi.CONSENT_RESPONSES, dependencies=[Depends(looked_up)])
async def read(user: User, gateway: Worker, caller: Caller) -> dict[str, Any]:
    """The person's consent, and what is allowed together with this key."""
    async with _reached():
        record = await find_consent(gateway.database, app=caller.app, user=user)
    return _answer(gateway, caller, user, record)


@router.put(PATH, openapi_extra=openapi.CONSENT, responses=openapi.CONSENT_RESPONSES, dependencies=[Depends(counted)])
async def give(user: User, http_request: Request, gateway: Worker, caller: Caller) -> dict[str, Any]:
    """Set the person's consent. A withdrawal takes effect at once in this worker, within five seconds in all."""
    body = await _read(http_request)
    async with _changing(gateway, caller, user):
        now = datetime.now(UTC)
        record = await set_consent(gateway.database, app=caller.app, user=user, **body.model_dump(), now=now)
    return _answer(gateway, caller, user, record)


@router.delete(PATH, responses=openapi.CONSENT_RESPONSES, dependencies=[Depends(counted)])
async def forget(user: User, gateway: Worker, caller: Caller) -> dict[str, Any]:
    """Delete the person's consent, as if they had never been asked."""
    async with _changing(gateway, caller, user):
        await forget_consent(gateway.database, app=caller.app, user=user)
    return _answer(gateway, caller, user, None)


async def _read(http_request: Request) -> ConsentBody:
    _, parsed = await read_json(http_request, MAX_BYTES)
    try:
        return ConsentBody.model_validate(parsed)
    except ValidationError as problem:
        first = problem.errors()[0]
        param = ".".join(map(str, first["loc"])) or None
        raise InvalidRequest(f"{param or 'body'}: {first['msg']}", param=param) from None


@asynccontextmanager
async def _reached() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            yield
    except AWAY as problem:
        log.warning("consent cannot be read or changed: the database is unavailable: %r", problem)
        raise DatabaseAway from problem


@asynccontextmanager
async def _changing(gateway: Gateway, caller: KeyRecord, user: str) -> AsyncIterator[None]:
    """Change a consent, and drop it from the cache whether or not the change succeeds."""
    try:
        async with _reached():
            yield
    finally:
        gateway.consents.changed(caller.app, user)


def _answer(gateway: Gateway, caller: KeyRecord, user: str, record: ConsentRecord | None) -> dict[str, Any]:
    external, sensitive = gateway.consents.combined(record, caller.allow_external, caller.allow_sensitive)
    return {
        "object": "consent",
        "user": user,
        "asked": record is not None,
        "allow_external": record is not None and record.allow_external,
        "allow_sensitive": record is not None and record.allow_sensitive,
        "changed_at": record and record.changed_at,
        "holds": {"allow_external": external, "allow_sensitive": sensitive},
    }
