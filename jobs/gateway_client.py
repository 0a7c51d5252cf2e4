"""The gateway as background work asks it: OpenAI's protocol, in the class `job`, with nothing kept and nothing let out.

No end user is named: a gateway that keeps what its users say would take the question for something that they said.
The only module of the worker that imports openai, and only when there is something to ask.
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
    """Asks; see `memory.extraction.extractor.Model`. Each failure is a ModelAway: whoever asks decides how often."""

    def __init__(self, target: ExtractionTarget, client: "AsyncOpenAI") -> None:
        self._target = target
        self._client = client

    @classmethod
    @asynccontextmanager
    async def open(cls, target: ExtractionTarget, job_id: str = "") -> AsyncIterator[Self]:
        """Connections to the gateway, for as long as it is entered; what is asked bears the job's id."""
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
        """The answer's text, which is empty where there is none; raises ModelAway."""
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
    """Turn what openai raises into ModelAway: it names the HTTP status and the gateway's error code, no words."""
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
