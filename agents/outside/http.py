"""A service outside: bounded in time and size, reads patient once with a 429, and every failure is a ServiceFailed.

A 429 is waited for as long as the service says (`Retry-After` in seconds or as a date, or `X-RateLimit-Reset-In`), else
1 s, and asked once more, if that is not longer than `max_wait_s`: asking twice does no harm. A write is sent once. It
does not know what a body means.
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
    """The service did not answer as it should; `status` is its HTTP status, if there was one, `reason` its own word.

    `retry_after_s`: how long a 429 asks to be left alone; None where it does not say.
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
        """Whether a write may have been done all the same: the answer was lost, or the service broke meanwhile."""
        return self.status is None or self.status >= 500


class OutsideHttp:
    """Reads of one service.

    Args:
        session: of the process.
        base_url: of the service, without a slash at the end.
        timeout_s: for one answer, to its last byte.
        max_wait_s: the longest that a 429 is waited for.
        max_bytes: the longest body.
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
        says = response.status == 429 and "Retry-After" in response.headers
        wait_s = self._wait_s(response) if says else None
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
    """The service's own word for an error; empty when there is none.

    Google's, e.g. `quotaExceeded`; Spotify's, e.g. `QUOTA_EXCEEDED`; OAuth's, e.g. `invalid_grant` (RFC 6749, 5.2).
    """
    try:
        error = orjson.loads(body)["error"]
        found = error if isinstance(error, str) else error.get("reason") or error["errors"][0]["reason"]
        return str(found)[:64]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError):
        return ""
