"""Counts refused requests and plain database requests in the limits.

Otherwise a client with a key could make the gateway parse, record and look up as much as the network allows. Plain
lookups do not count in a tier's limits, so that a client can read the usage of each of its chats; they are throttled by
application. A refused request is counted once (`count_refusal`).
"""

from collections.abc import Mapping
from typing import Any, Protocol

from fastapi import Request, Response

from serving.errors import ApiError, RateLimited
from serving.ledger.ledger import Ledger
from serving.limits.limiter import Limiter
from serving.routes.dependencies import CALLER, Caller, Gateway, Worker
from serving.routes.identity import about, end_user
from storage.api_keys import KeyRecord

COUNTED = "bondhu.counted"  # in a request's scope: it is counted, or does not have to be
LOOKUPS_AT_ONCE, LOOKUPS_PER_S = 500, 50  # of an application, in a gateway worker


class Counting(Protocol):
    """What counts requests, of whatever parts a route has."""

    @property
    def ledger(self) -> Ledger:
        """The ledger."""

    @property
    def limiter(self) -> Limiter:
        """The limits."""


async def refused(
    problem: ApiError,
    http_request: Request,
    parts: Counting,
    caller: KeyRecord,
    endpoint: str,
    parsed: Mapping[str, Any],
) -> ApiError:
    """Record and count a refused request; returns `problem`, or the error of counting it."""
    http_request.scope[COUNTED] = True
    try:
        with parts.ledger.begin(**about(http_request, caller, endpoint, parsed)) as record:
            await parts.limiter.count(caller.app, end_user(http_request, parsed), caller.tier, record.id)
            raise problem
    except ApiError as final:
        return final


async def counted(http_request: Request, response: Response, gateway: Worker, caller: Caller) -> None:
    """Count a request without a row in the ledger; raises RateLimited."""
    http_request.scope[COUNTED] = True
    user = http_request.path_params.get("user")
    headers = await gateway.limiter.count(caller.app, user, caller.tier, gateway.ledger.new_id())
    response.headers.update(headers)


async def throttled(gateway: Worker, caller: Caller) -> None:
    """Limit the lookups of an application; raises RateLimited."""
    wait_s = gateway.lookups.take(caller.app)
    if wait_s > 0:
        raise RateLimited(
            f"Too many lookups by application '{caller.app}': {LOOKUPS_PER_S} per s.", unit="requests", wait_s=wait_s
        )


async def looked_up(http_request: Request, gateway: Worker, caller: Caller) -> None:
    """Throttle a plain lookup, which the limits do not count; raises RateLimited."""
    http_request.scope[COUNTED] = True
    await throttled(gateway, caller)


async def count_refusal(http_request: Request, problem: ApiError) -> ApiError:
    """Count a refused request of a known client, once; returns `problem`, or the error of counting it."""
    caller: KeyRecord | None = http_request.scope.get(CALLER)
    if caller is None or http_request.scope.get(COUNTED) or problem.status == 429 or problem.status >= 500:
        return problem
    gateway: Gateway = http_request.app.state.gateway
    try:
        await gateway.limiter.count(caller.app, None, caller.tier, gateway.ledger.new_id())
    except ApiError as final:
        return final
    return problem
