"""Counts refused requests and plain database requests in the limits.

Otherwise a client with a key could make the gateway parse, record and look up as much as the network allows.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response

from serving.errors import ApiError
from serving.routes.dependencies import Caller, Gateway, Worker
from serving.routes.identity import about, end_user
from storage.api_keys import KeyRecord


async def refused(
    problem: ApiError,
    http_request: Request,
    gateway: Gateway,
    caller: KeyRecord,
    endpoint: str,
    parsed: Mapping[str, Any],
) -> ApiError:
    """Record and count a refused request; returns `problem`, or the error of counting it."""
    try:
        with gateway.ledger.begin(**about(http_request, caller, endpoint, parsed)) as record:
            await gateway.limiter.count(caller.app, end_user(http_request, parsed), caller.tier, record.id)
            raise problem
    except ApiError as final:
        return final


async def counted(http_request: Request, response: Response, gateway: Worker, caller: Caller) -> None:
    """Count a request without a row in the ledger; raises RateLimited."""
    user = http_request.path_params.get("user")
    headers = await gateway.limiter.count(caller.app, user, caller.tier, gateway.ledger.new_id())
    response.headers.update(headers)
