"""What the limits count beside requests that are answered: refused ones, and those that only ask the database.

Without it, whoever has a key could have the gateway parse, write down and look up as much as the network carries.
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
    request: Request,
    gateway: Gateway,
    caller: KeyRecord,
    endpoint: str,
    parsed: Mapping[str, Any],
) -> ApiError:
    """Write a refused request down and count it; returns `problem`, or what refuses even to count it."""
    try:
        with gateway.ledger.begin(**about(request, caller, endpoint, parsed)) as entry:
            await gateway.limiter.count(caller.app, end_user(request, parsed), caller.tier, entry.id)
            raise problem
    except ApiError as final:
        return final


async def counted(request: Request, response: Response, gateway: Worker, caller: Caller) -> None:
    """Count a request that has no row in the ledger; raises RateLimited."""
    user = request.path_params.get("user")
    headers = await gateway.limiter.count(caller.app, user, caller.tier, gateway.ledger.new_id())
    response.headers.update(headers)
