"""A served model that extracts, as the worker asks it (`jobs.gateway_client`), with MiniLM's vectors beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.extraction.scripted import ScriptedModel
from bench.stack import Target
from jobs.config import ExtractionTarget
from jobs.gateway_client import Endpoint
from memory.extraction.deduplication import Vector

ANSWER_TOKENS, TIMEOUT_S = 512, 300


class ServedModel:
    """See `memory.extraction.extractor.Model`.

    Args:
        gateway: where it is served.
        name: the model's name there.
        embedder: makes vectors.

    """

    def __init__(self, gateway: Target, name: str, embedder: ScriptedModel) -> None:
        self._target = ExtractionTarget(
            base_url=gateway.url,
            api_key=gateway.key,
            model=name,
            embedder=None,
            answer_tokens=ANSWER_TOKENS,
            timeout_s=TIMEOUT_S,
        )
        self._embedder = embedder

    async def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], temperature: float) -> str:
        """The answer's text; raises ModelAway."""
        async with Endpoint.open(self._target) as endpoint:
            return await endpoint.ask(messages, schema, temperature)

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector] | None:
        """Unit vectors."""
        return await self._embedder.embed(texts)
