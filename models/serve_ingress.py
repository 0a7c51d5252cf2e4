"""Requests to Ray Serve's private ingress: a JSON body, JSON or raw float32 in the response.

It does not know the bodies' meaning: the deployments' modules (serving/deployments/) define them.
"""

from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

CLUSTER_HEADER = "x-bondhu-cluster-key"


class Away(Exception):
    """The ingress failed to answer, or its answer is invalid; the text gives the reason."""


class Refused(Exception):
    """One of the inputs is invalid: its number (from 0), the reason, and OpenAI's code for it, if any."""

    def __init__(self, index: int, why: str, code: str | None) -> None:
        super().__init__(f"input[{index}] {why}")
        self.index = index
        self.why = why
        self.code = code


async def ask(
    session: aiohttp.ClientSession, url: str, cluster_key: str, body: Mapping[str, Any] | None, *, timeout_s: float
) -> tuple[bytes, Mapping[str, str]]:
    """POST `body` (GET if it is None) and return the answer's bytes and headers.

    Raises:
        Away: it cannot be reached, or answered with another status than 200 and 400.
        Refused: it answered 400.
        TimeoutError: it did not answer in time.

    """
    method, data = ("GET", None) if body is None else ("POST", orjson.dumps(body))
    headers = {CLUSTER_HEADER: cluster_key, "content-type": "application/json"}
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with session.request(method, url, data=data, headers=headers, timeout=timeout) as response:
            answer = await response.read()
            if response.status == 400:
                error = orjson.loads(answer)
                raise Refused(error["index"], error["error"], error["code"])
            if response.status != 200:
                raise Away(f"it answered {response.status}")
            return answer, response.headers
    except TimeoutError:
        raise  # one of aiohttp's is a ClientError too
    except aiohttp.ClientError as problem:
        raise Away(f"it cannot be reached ({type(problem).__name__})") from problem
