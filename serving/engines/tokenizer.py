"""The tokenizer of a model, asked of one of its engines (vLLM's `/tokenize` and `/detokenize`)."""

from collections.abc import Mapping
from typing import Any

import orjson

from serving.engines import vllm_errors
from serving.engines.http_client import ConnectionLost, EngineClient
from serving.engines.registry import EngineRegistry
from serving.engines.wire import engine_model
from serving.errors import EngineFailed

Json = dict[str, Any]
WAKE_TIMEOUT_S = 60.0


class EngineTokenizer:
    """Asks engines; see `serving.engines.registry.EngineRegistry.choose` for which one."""

    def __init__(self, engine_registry: EngineRegistry, engines: EngineClient) -> None:
        self._engine_registry = engine_registry
        self._engines = engines

    async def ask(self, path: str, model: str, body: Mapping[str, Any]) -> tuple[Json, str]:
        """The engine's answer, and the label of what answered.

        Raises:
            InvalidRequest: the engine refuses the request.
            EngineUnavailable, EngineFailed: there is no engine, or it failed.

        """
        await self._engine_registry.awake(model, WAKE_TIMEOUT_S)
        replica = self._engine_registry.choose(model, ())
        report = replica.report
        payload = orjson.dumps({**body, "model": engine_model(report, model)})
        try:
            upstream = await self._engines.post(report["address"], path, report["key"], payload)
            try:
                answer = await upstream.body()
            finally:
                self._engines.release(upstream)
        except ConnectionLost as loss:
            raise EngineFailed("The engine stopped while it read this text.") from loss
        if upstream.status != 200:
            raise vllm_errors.translate(upstream.status, answer, set(body))
        parsed: Json = orjson.loads(answer)
        return parsed, replica.label(model)
