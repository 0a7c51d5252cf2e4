"""Access to a person's account at a service by OAuth: linking with PKCE, renewing tokens, reconnecting.

RFC 6749, RFC 7636 (PKCE), RFC 8252 (loopback redirects). The authorisation's `state` is 256 random bits, valid once and
for some minutes; the verifier is stored encrypted. One process renews an access token that is about to expire; the
others wait for the result. If a renewal returns no refresh token, the old one stays valid. `invalid_grant` marks the
account for reconnection and deletes nothing, because it may be the service's own fault.
"""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from agents.outside.http import OutsideHttp, ServiceFailed
from agents.outside.vault import Locked, Vault
from storage.memory.owner import Owner
from storage.services.links import LINKED, RECONNECT, Link, SqlLinks

SOON = timedelta(seconds=60)  # before it expires a token is renewed
RENEWAL_LASTS = timedelta(seconds=20)
LOOK_AGAIN_S = 0.1
LOOKS = 150


class NotLinked(Exception):
    """The person has no account there, or it has to be connected again (`reconnect`)."""

    def __init__(self, service: str, *, reconnect: bool = False) -> None:
        super().__init__(service)
        self.service = service
        self.reconnect = reconnect


class NotAuthorized(Exception):
    """The authorization is unknown, expired or was declined; the message says which."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """The operator's application at a service."""

    service: str
    client_id: str
    redirect_uri: str
    authorize_url: str
    scope: str


class Tokens:
    """The tokens of all people at one service.

    Args:
        client: the operator's application there.
        accounts: the HTTP client of the address with `/api/token`.
        links: stores them.
        vault: encrypts them.
        now: the time, aware.
        account_of: the account that an access token belongs to; raises ServiceFailed.
        sleep: waits.

    """

    def __init__(
        self,
        client: OAuthClient,
        accounts: OutsideHttp,
        links: SqlLinks,
        vault: Vault,
        now: Callable[[], datetime],
        account_of: Callable[[str], Awaitable[str]],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._accounts = accounts
        self._links = links
        self._vault = vault
        self._now = now
        self._account_of = account_of
        self._sleep = sleep

    async def begin(self, owner: Owner) -> str:
        """The address that the person's browser is sent to."""
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
        locked = self._vault.lock(owner, self._client.service, {"verifier": verifier})
        await self._links.authorize(owner, self._client.service, state, locked)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        params = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": self._client.redirect_uri,
            "scope": self._client.scope,
            "state": state,
            "code_challenge_method": "S256",
            "code_challenge": challenge,
        }
        return f"{self._client.authorize_url}?{urlencode(params)}"

    async def finish(self, state: str, code: str) -> str:
        """Link the account of a returning person; its name. Raises NotAuthorized, ServiceFailed."""
        sent = await self._links.authorized(self._client.service, state)
        if sent is None:
            raise NotAuthorized("This link was used before, or is too old. Ask for another.")
        service, owner = self._client.service, sent.owner
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._client.redirect_uri,
            "client_id": self._client.client_id,
            "code_verifier": self._vault.open(owner, service, sent.secret)["verifier"],
        }
        tokens = _checked(await self._accounts.send("POST", "/api/token", form=form))
        account = await self._account_of(tokens["access_token"])
        secret, expires_at = self._locked(owner, tokens, {})
        await self._links.link(owner, service, account, secret=secret, expires_at=expires_at)
        return account

    async def access(self, owner: Owner) -> str:
        """An access token that is valid for a while; raises NotLinked, ServiceFailed."""
        service = self._client.service
        for _ in range(LOOKS):
            link = await self._links.find(owner, service)
            if link is None or link.state != LINKED or link.secret is None:
                raise NotLinked(service, reconnect=link is not None)
            if link.expires_at is not None and link.expires_at - SOON > self._now():
                return str((await self._open(owner, link))["access_token"])
            by = await self._links.begin_renewal(owner, service, lasts=RENEWAL_LASTS)
            if by is not None:
                return await self._renew(owner, by)
            await self._sleep(LOOK_AGAIN_S)  # another renews it
        raise ServiceFailed(f"{service}: no process renewed the token in time")

    async def _renew(self, owner: Owner, by: str) -> str:
        service = self._client.service
        link = await self._links.find(owner, service)  # as of now: another may just have renewed it
        assert link is not None, "its row is held"
        if link.expires_at is not None and link.expires_at - SOON > self._now():
            await self._links.end_renewal(owner, service, by)
            return str((await self._open(owner, link))["access_token"])
        kept = await self._open(owner, link)
        form = {
            "grant_type": "refresh_token",
            "refresh_token": kept["refresh_token"],
            "client_id": self._client.client_id,
        }
        try:
            tokens = _checked(await self._accounts.send("POST", "/api/token", form=form))
        except ServiceFailed as failure:
            is_refused = failure.reason == "invalid_grant"
            await self._links.end_renewal(owner, service, by, state=RECONNECT if is_refused else LINKED)
            if is_refused:
                raise NotLinked(service, reconnect=True) from failure
            raise
        secret, expires_at = self._locked(owner, tokens, kept)
        await self._links.end_renewal(owner, service, by, secret=secret, expires_at=expires_at)
        return str(tokens["access_token"])

    async def _open(self, owner: Owner, link: Link) -> Mapping[str, Any]:
        try:
            return self._vault.open(owner, link.service, link.secret or b"")
        except Locked as problem:  # the key in the environment is another one
            raise NotLinked(link.service, reconnect=True) from problem

    def _locked(self, owner: Owner, tokens: Mapping[str, Any], kept: Mapping[str, Any]) -> tuple[bytes, datetime]:
        refresh = tokens.get("refresh_token") or kept.get("refresh_token", "")
        secret = {"access_token": tokens["access_token"], "refresh_token": refresh}
        expires_at = self._now() + timedelta(seconds=float(tokens.get("expires_in") or 3600))
        return self._vault.lock(owner, self._client.service, secret), expires_at


def _checked(tokens: Any) -> Mapping[str, Any]:
    if not isinstance(tokens, dict) or not isinstance(tokens.get("access_token"), str) or not tokens["access_token"]:
        raise ServiceFailed("/api/token: no token")
    return tokens
