"""/api/v1/services: lists, links and unlinks a person's accounts at external services.

Spotify redirects the person's browser to the callback, which needs no API key: its `state` is 256 random bits that only
Spotify and the browser know, valid once and for ten minutes.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from agents.outside.http import ServiceFailed
from agents.outside.tokens import NotAuthorized
from agents.outside.vault import Locked
from memory.schemas import Accepted, Name
from serving.errors import InvalidRequest, ServiceNotConfigured, TooManyKeys, UnknownService
from serving.routes import openapi
from serving.routes.agents.accounts import Accounts
from serving.routes.body_limit import BoundedRoute
from serving.routes.dependencies import Worker
from serving.routes.memory.common import Access, MemoryAccess, User
from storage.services.links import Link

router = APIRouter(tags=["agents"], route_class=BoundedRoute, responses=openapi.AGENT_RESPONSES)
_PAGE = {"description": "A page that says what happened.", "content": {"text/html": {"schema": {"type": "string"}}}}
callbacks = APIRouter(tags=["agents"], responses=dict.fromkeys((400, 403, 404, 429, 502), _PAGE))  # no key, no body

PathService = Annotated[Name, Path(description="a service's id, as in GET /api/v1/services")]
State = Literal["unlinked", "linked", "reconnect"]
CLOSE = "You can close this window."
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
}


class ServiceCard(BaseModel):
    """A service: whether it is set up here, how it is linked, and the person's account there.

    `how` is `oauth` (link returns a `url` to open) or `name` (link needs the account's name). `state` is `linked`, or
    `reconnect` when the service no longer accepts the connection.
    """

    object: Literal["service"] = "service"
    id: str
    configured: bool
    how: Literal["oauth", "name"]
    state: State
    account: str | None
    linked_at: datetime | None


class ServiceList(BaseModel):
    """All services."""

    object: Literal["list"] = "list"
    data: list[ServiceCard]


class LinkBody(Accepted):
    """A request to link an account; `account` is its name, for services that are linked by name."""

    account: Name | None = None
    user: Name | None = None


class LinkAnswer(BaseModel):
    """The URL that the person must open; null: the account is linked."""

    object: Literal["service.link"] = "service.link"
    url: str | None
    service: ServiceCard


@router.get("/api/v1/services")
async def services(access: Access, user: User = None) -> ServiceList:
    """List the services, and the person's accounts there."""
    async with access.about(user) as owner:
        links = {link.service: link for link in await access.gateway.accounts.links.all_of(owner)}
        return ServiceList(data=[_card(access.gateway.accounts, id_, links) for id_ in Accounts.HOW])


@router.post("/api/v1/services/{service}/link")
async def link(service: PathService, body: LinkBody, access: Access) -> LinkAnswer:
    """Link an account by its name, or return a URL to open."""
    async with access.about(body.user) as owner:
        accounts = _configured(access, service)
        url = None
        if accounts.HOW[service] == "oauth":
            assert accounts.tokens is not None, "it is configured"
            url = await accounts.tokens.begin(owner)
        elif body.account is None:
            raise InvalidRequest("account: required for this service; set it to the account's name.", param="account")
        else:
            await accounts.links.link(owner, service, body.account, secret=None, expires_at=None)
        links = {link.service: link for link in await accounts.links.all_of(owner)}
        return LinkAnswer(url=url, service=_card(accounts, service, links))


@callbacks.get("/api/v1/services/{service}/callback", response_class=HTMLResponse)
async def callback(
    service: PathService,
    http_request: Request,
    gateway: Worker,
    state: Annotated[str, Query(max_length=256)] = "",
    code: Annotated[str, Query(max_length=2048)] = "",
    error: Annotated[str, Query(max_length=256)] = "",
) -> HTMLResponse:
    """Finish linking after the redirect from the service; returns a page with the result."""
    tokens = gateway.accounts.tokens
    if tokens is None or Accounts.HOW.get(service) != "oauth":
        return _page(404, "This service does not exist here.")
    if error or not code:
        return _page(400, f"The account was not linked, because access was denied. {CLOSE}")
    address = http_request.client.host if http_request.client else ""
    if (wait_s := gateway.sign_ins.take(address)) > 0:
        raise TooManyKeys(math.ceil(wait_s))
    try:
        await tokens.finish(state, code)
    except (NotAuthorized, Locked):
        return _page(400, "This link was already used or has expired. Request a new one.")
    except ServiceFailed as failure:
        if failure.status == 403:
            return _page(403, "The operator's application is not available to your account.")
        return _page(502, "The service did not respond as expected. Try again.")
    gateway.sign_ins.give_back(address)
    return _page(200, f"Your account is linked. {CLOSE}")


@router.delete("/api/v1/services/{service}")
async def unlink(service: PathService, access: Access, user: User = None) -> ServiceCard:
    """Unlink the account, and delete the data that came from it."""
    async with access.about(user) as owner:
        if service not in Accounts.HOW:
            raise UnknownService(service)
        await access.gateway.accounts.links.unlink(owner, service)
        return _card(access.gateway.accounts, service, {})


def _configured(access: MemoryAccess, service: str) -> Accounts:
    accounts = access.gateway.accounts
    if service not in accounts.HOW:
        raise UnknownService(service)
    if not accounts.is_configured(service):
        raise ServiceNotConfigured(f"'{service}' is not configured: `bondhu doctor services` shows what is missing.")
    return accounts


def _card(accounts: Accounts, id_: str, links: Mapping[str, Link]) -> ServiceCard:
    link = links.get(id_)
    return ServiceCard(
        id=id_,
        configured=accounts.is_configured(id_),
        how=accounts.HOW[id_],
        state="unlinked" if link is None else cast("State", link.state),
        account=None if link is None else link.account,
        linked_at=None if link is None else link.linked_at,
    )


def _page(status: int, text: str) -> HTMLResponse:
    return HTMLResponse(f"<!doctype html><title>Bondhu</title><p>{text}</p>", status, PAGE_HEADERS)
