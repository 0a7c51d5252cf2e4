"""A whole provider: what `models/gemini/` is for Gemini."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from models.chat import BadRequest, Json
from models.provider import Provider, ProviderModel, ProviderOptions


class Tiny(ProviderModel):
    """Repeats the last message word by word; cannot continue another model's answer."""

    provider = "tiny"

    def __init__(self, options: ProviderOptions) -> None:
        self.model = options.model
        self._head = {"id": options.new_id(), "object": "chat.completion.chunk", "created": int(options.now())}

    async def chunks(self, request: Mapping[str, Any], *, continue_from: str = "") -> AsyncGenerator[Json, None]:
        """Answer."""
        if continue_from:
            raise BadRequest("it cannot go on with an answer")
        words = str(request["messages"][-1]["content"]).split()
        yield self._chunk({"role": "assistant", "content": ""})
        for word in words:
            yield self._chunk({"content": f" {word}"})
        yield self._chunk({}, "stop")
        usage = {"prompt_tokens": len(words), "completion_tokens": len(words), "total_tokens": 2 * len(words)}
        yield {**self._head, "model": self.model, "choices": [], "usage": usage}

    async def close(self) -> None:
        """Nothing is open."""

    def _chunk(self, delta: Json, finish: str | None = None) -> Json:
        return {**self._head, "model": self.model, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


PROVIDER = Provider("tiny", "TINY_API_KEY", Tiny)
