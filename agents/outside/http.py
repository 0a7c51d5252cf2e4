"""GET from a service outside: bounded in time and size, patient once with a 429, and every failure is a ServiceFailed.

A 429 is waited for as long as the service says (`Retry-After` in seconds or as a date, or `X-RateLimit-Reset-In`), else
1 s, and asked once more, if that is not longer than `max_wait_s`; only reads go through here, so asking twice does no
harm. It does not know what a body means.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson

USER_AGENT = "Bondhu/0.1 (self-hosted companion)"
Params = Mapping[str, str] | Sequence[tuple[str, str]]


class ServiceFailed(Exception):
    """The service did not answer as it should; `status` is its HTTP status, if there was one, `reason` its own word."""

    def __init__(self, message: str, status: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


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

    async def get(self, path: str, params: Params = ()) -> bytes:
        """The body of a 200; raises ServiceFailed."""
        for is_last in (False, True):
            try:
                async with self._session.get(
                    self._base_url + path,
                    params=params,
                    timeout=self._timeout,
                    headers={"User-Agent": USER_AGENT},
                    allow_redirects=False,
                ) as response:
                    if response.status == 200:
                        return await self._body(response)
                    wait_s = self._wait_s(response)
                    if response.status != 429 or is_last or wait_s > self._max_wait_s:
                        raise ServiceFailed(
                            f"{path}: HTTP {response.status}", response.status, _reason(await self._body(response))
                        )
            except (aiohttp.ClientError, TimeoutError, OSError) as failure:
                raise ServiceFailed(f"{path}: {type(failure).__name__}") from failure
            await self._sleep(wait_s)
        raise AssertionError("unreachable")

    async def get_json(self, path: str, params: Params = ()) -> Any:
        """The body as JSON; raises ServiceFailed."""
        try:
            return orjson.loads(await self.get(path, params))
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
    """Google's word for an error, e.g. `quotaExceeded`; empty when there is none."""
    try:
        return str(orjson.loads(body)["error"]["errors"][0]["reason"])
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError):
        return ""
