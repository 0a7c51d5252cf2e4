"""The client of the gateway for background work: OpenAI's protocol, class `job`, no caching, no external models.

It names no end user, because a gateway that stores conversations would store the request as something the user said.
Only this module of the worker imports openai, and only when it makes a request.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from jobs.config import ExtractionTarget
from memory.extraction.deduplication import Vector
from memory.extraction.extractor import ModelAway

if TYPE_CHECKING:  # 40 MB that a worker without extraction does without
    from openai import AsyncOpenAI

HEADERS = {
    "x-bondhu-class": "job",
    "x-bondhu-cache": "off",
    "cache-control": "no-store",
    "x-bondhu-allow-external": "false",
}
MAX_RETRY_AFTER_S = 3600.0


class Endpoint:
    """See `memory.extraction.extractor.Model`. Every failure is a ModelAway; the caller decides on retries."""

    def __init__(self, target: ExtractionTarget, client: "AsyncOpenAI") -> None:
        self._target = target
        self._client = client

    @classmethod
    @asynccontextmanager
    async def open(cls, target: ExtractionTarget, job_id: str = "") -> AsyncIterator[Self]:
        """Open connections for the duration of the context; requests carry the job's id."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        is_tls = target.base_url.startswith("https:")  # reading the system's certificates takes longer than the rest
        async with AsyncOpenAI(
            http_client=DefaultAsyncHttpxClient(verify=is_tls),
            base_url=f"{target.base_url}/v1",
            api_key=target.api_key,
            timeout=target.timeout_s,
            max_retries=0,
            default_headers={**HEADERS, **({"x-request-id": f"job-{job_id}"} if job_id else {})},
        ) as client:
            yield cls(target, client)

    async def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], temperature: float) -> str:
        """The text of the answer, empty if there is none; raises ModelAway."""
        from openai.types.chat import ChatCompletion

        shape = {"name": "memories", "strict": True, "schema": schema}
        request: dict[str, Any] = {
            "model": self._target.model,
            "messages": messages,
            "temperature": temperature,
            "max_tokens": self._target.answer_tokens,
            "response_format": {"type": "json_schema", "json_schema": shape},
        }
        with _failures():
            answer = await self._client.chat.completions.create(**request)
        if not isinstance(answer, ChatCompletion):  # the client passes on what is not JSON as it is
            raise ModelAway("protocol")
        return (answer.choices[0].message.content or "") if answer.choices else ""

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector] | None:
        """Unit vectors; None while there is no embedder."""
        if self._target.embedder is None:
            return None
        try:
            with _failures():
                answer = await self._client.embeddings.create(model=self._target.embedder, input=list(texts))
        except ModelAway:
            return None
        return [np.asarray(each.embedding, dtype=np.float32) for each in answer.data]


@contextmanager
def _failures() -> Iterator[None]:
    """Turn openai's exceptions into ModelAway, with the HTTP status and error code but no message text."""
    import openai

    try:
        yield
    except openai.APITimeoutError as problem:
        raise ModelAway("timeout") from problem
    except openai.APIConnectionError as problem:
        raise ModelAway("connection") from problem
    except openai.APIStatusError as problem:
        wait_s = 0.0
        with suppress(ValueError):
            wait_s = float(problem.response.headers.get("retry-after", ""))
        kind = f"{problem.status_code} {problem.code or ''}".strip()
        raise ModelAway(kind, min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)) from problem
    except (openai.APIError, ValueError) as problem:  # an answer that is none
        raise ModelAway("protocol") from problem
