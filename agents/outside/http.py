"""The HTTP client of an external service: bounded in time and size; every failure is a ServiceFailed.

A read that gets a 429 is repeated once, after the time that the service names (`Retry-After` in seconds or as a date,
or `X-RateLimit-Reset-In`; otherwise 1 s), if that is at most `max_wait_s`. A write is never repeated. This module does
not know what a body means.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any

import aiohttp
import orjson

USER_AGENT = "Bondhu/0.1 (self-hosted companion)"
QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
Params = Mapping[str, str] | Sequence[tuple[str, str]]


class ServiceFailed(Exception):
    """A request failed; `status` is the HTTP status, if there was one, `reason` the service's own error code.

    `retry_after_s`: the wait that a 429 requests; None if it names none.
    """

    def __init__(
        self, message: str, status: int | None = None, reason: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s

    @property
    def may_have_happened(self) -> bool:
        """Whether a write may have taken effect: the answer was lost, or the service failed meanwhile."""
        return self.status is None or self.status >= 500


class OutsideHttp:
    """The client of one service.

    Args:
        session: the process's HTTP session.
        base_url: without a trailing slash.
        timeout_s: for a complete response.
        max_wait_s: the maximum wait after a 429.
        max_bytes: the maximum size of a body.
        sleep: waits.
        now: the time, aware; for a Retry-After that is a date.

    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        *,
        timeout_s: float = 5.0,
        max_wait_s: float = 3.0,
        max_bytes: int = 2_000_000,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._session = session
        self._base_url = base_url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._max_wait_s = max_wait_s
        self._max_bytes = max_bytes
        self._sleep = sleep
        self._now = now

    async def get(self, path: str, params: Params = (), headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
        """The body of a 200; raises ServiceFailed."""
        for is_last in (False, True):
            try:
                async with self._session.get(
                    self._base_url + path,
                    params=params,
                    timeout=self._timeout,
                    headers={"User-Agent": USER_AGENT, **headers},
                    allow_redirects=False,
                ) as response:
                    if response.status == 200:
                        return await self._body(response)
                    wait_s = self._wait_s(response)
                    failure = await self._failure(path, response)
                    is_spent = failure.reason == QUOTA_EXCEEDED  # waiting for some seconds does not help
                    if response.status != 429 or is_last or is_spent or wait_s > self._max_wait_s:
                        raise failure
            except (aiohttp.ClientError, TimeoutError, OSError) as problem:
                raise ServiceFailed(f"{path}: {type(problem).__name__}") from problem
            await self._sleep(wait_s)
        raise AssertionError("unreachable")

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        params: Params = (),
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        """Send a write once, without retries; check its effect before repeating it. The answer's JSON, None if empty.

        Raises ServiceFailed.
        """
        try:
            async with self._session.request(
                method,
                self._base_url + path,
                params=params,
                json=json,
                data=form,
                timeout=self._timeout,
                headers={"User-Agent": USER_AGENT, **headers},
                allow_redirects=False,
            ) as response:
                if response.status >= 300:
                    raise await self._failure(path, response)
                body = await self._body(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise ServiceFailed(f"{path}: {type(problem).__name__}") from problem
        try:
            return orjson.loads(body) if body.strip() else None
        except orjson.JSONDecodeError as problem:
            raise ServiceFailed(f"{path}: no JSON") from problem

    async def get_json(self, path: str, params: Params = (), headers: Mapping[str, str] = MappingProxyType({})) -> Any:
        """The body as JSON; raises ServiceFailed."""
        try:
            return orjson.loads(await self.get(path, params, headers))
        except orjson.JSONDecodeError as failure:
            raise ServiceFailed(f"{path}: no JSON") from failure

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        chunks, size = [], 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > self._max_bytes:
                raise ServiceFailed("the answer is too long", response.status)
            chunks.append(chunk)
        return b"".join(chunks)

    async def _failure(self, path: str, response: aiohttp.ClientResponse) -> ServiceFailed:
        reason = _reason(await self._body(response))
        names_wait = response.status == 429 and "Retry-After" in response.headers
        wait_s = self._wait_s(response) if names_wait else None
        return ServiceFailed(f"{path}: HTTP {response.status} {reason}".strip(), response.status, reason, wait_s)

    def _wait_s(self, response: aiohttp.ClientResponse) -> float:
        value = response.headers.get("Retry-After") or response.headers.get("X-RateLimit-Reset-In") or "1"
        try:
            return max(float(value), 0.0)
        except ValueError:
            pass
        try:
            return max((parsedate_to_datetime(value) - self._now()).total_seconds(), 0.0)
        except (ValueError, TypeError):
            return 1.0


def _reason(body: bytes) -> str:
    """The service's own error code; empty if there is none.

    Google's, e.g. `quotaExceeded`; Spotify's, e.g. `QUOTA_EXCEEDED`; OAuth's, e.g. `invalid_grant` (RFC 6749, 5.2).
    """
    try:
        error = orjson.loads(body)["error"]
        found = error if isinstance(error, str) else error.get("reason") or error["errors"][0]["reason"]
        return str(found)[:64]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError):
        return ""
