"""GET /v1/usage/{request_id} and /api/v1/usage: usage and cost of an application's requests."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Path, Query

from serving.errors import DatabaseAway, Forbidden, InvalidRequest, UnknownRequest
from serving.routes import openapi
from serving.routes.counted import counted, looked_up
from serving.routes.dependencies import Caller, Gateway, Worker
from storage.database import AWAY
from storage.requests import Dimension, Row, find_request, sum_requests

router = APIRouter(tags=["usage"])

log = logging.getLogger(__name__)

ALL_APPS = "*"
ANSWER_WITHIN_S = 5.0  # timeout of the database
GROUPS = r"^(app|user|model|day)(,(app|user|model|day)){0,3}$"
Name = Annotated[str | None, Query(max_length=256, pattern=r"^[^\x00]*$")]  # Postgres does not accept NUL


@router.get("/v1/usage/{request_id}", responses=openapi.REQUEST_USAGE_RESPONSES, dependencies=[Depends(looked_up)])
async def request_usage(
    request_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9._:-]{1,128}$")], gateway: Worker, caller: Caller
) -> dict[str, Any]:
    """Usage of the application's newest request with this `x-request-id`, also after a disconnect."""
    if record := gateway.ledger.running(caller.app, request_id):
        started_at = datetime.fromtimestamp(record.fields["started_at"], UTC)
        return _answer(record.fields | {"started_at": started_at}, "running")
    async with _settled(gateway):
        row = await find_request(gateway.database, app=caller.app, request_id=request_id)
    if row is None:
        raise UnknownRequest
    return _answer(row, "ended")


@router.get("/api/v1/usage", responses=openapi.USAGE_RESPONSES, dependencies=[Depends(counted)])
async def usage(
    gateway: Worker,
    caller: Caller,
    group_by: Annotated[
        str, Query(pattern=GROUPS, description="app, user, model, day: one or several, separated by commas")
    ] = "day",
    since: Annotated[
        datetime | None, Query(alias="from", description="started at or after; UTC without a time zone")
    ] = None,
    until: Annotated[datetime | None, Query(alias="to", description="started before; UTC without a time zone")] = None,
    user: Name = None,
    model: Name = None,
    app: Name = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="maximum number of groups")] = 1000,
) -> dict[str, Any]:
    """Requests, tokens and cost by application, end user, model that answered and UTC day.

    By default those of the key's application; an admin key can set `app` to another one, or to `*` for all.
    """
    if app not in (None, caller.app) and not gateway.may_see_all(caller):
        raise Forbidden("app: only an admin key can read the usage of other applications.", param="app")
    async with _settled(gateway):
        groups = await sum_requests(
            gateway.database,
            cast("list[Dimension]", group_by.split(",")),
            app=None if app == ALL_APPS else app or caller.app,
            user=user,
            model=model,
            since=_in_utc(since, "from"),
            until=_in_utc(until, "to"),
            limit=limit + 1,
        )
    return {"object": "list", "data": groups[:limit], "has_more": len(groups) > limit}


@asynccontextmanager
async def _settled(gateway: Gateway) -> AsyncIterator[None]:
    """Flush this worker's ended requests to SQL first; raises DatabaseAway."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await gateway.ledger.flush()
            yield
    except AWAY as problem:
        log.warning("usage cannot be read: the database is unavailable: %r", problem)
        raise DatabaseAway from problem


def _in_utc(instant: datetime | None, param: str) -> datetime | None:
    if instant is None:
        return None
    try:
        return instant.replace(tzinfo=instant.tzinfo or UTC).astimezone(UTC)
    except OverflowError:
        raise InvalidRequest(f"{param}: out of range in UTC (years 1 to 9999).", param=param) from None


def _answer(row: Row, status: str) -> dict[str, Any]:
    """The row as an API object; fields that are not known while the request runs are null."""
    fields = dict.fromkeys(openapi.REQUEST_USAGE_FIELDS) | row
    fields |= {"object": "usage", "user": row["end_user"], "http_status": row.get("status"), "status": status}
    return {name: fields[name] for name in openapi.REQUEST_USAGE_FIELDS}
