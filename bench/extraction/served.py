"""A served model that extracts, as the worker asks it (`jobs.gateway_client`), with MiniLM's vectors beside it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from bench.stack import Target
from jobs.config import ExtractionTarget
from jobs.gateway_client import Endpoint
from memory.extraction.deduplication import Vector

ANSWER_TOKENS, TIMEOUT_S = 512, 300
Embed = Callable[[Sequence[str]], Awaitable[Sequence[Vector] | None]]


class ServedModel:
    """See `memory.extraction.extractor.Model`.

    Args:
        gateway: where it is served.
        name: the model's name there.
        embed: makes vectors.

    """

    def __init__(self, gateway: Target, name: str, embed: Embed) -> None:
        self._target = ExtractionTarget(
            base_url=gateway.url,
            api_key=gateway.key,
            model=name,
            embedder=None,
            answer_tokens=ANSWER_TOKENS,
            timeout_s=TIMEOUT_S,
        )
        self.embed = embed

    async def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], temperature: float) -> str:
        """The answer's text; raises ModelAway."""
        async with Endpoint.open(self._target) as endpoint:
            return await endpoint.ask(messages, schema, temperature)
