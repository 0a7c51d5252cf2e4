"""vLLM's OpenAI server as an engine process.

It runs `python -m vllm.entrypoints.openai.api_server` with every configured argument, and does not import vLLM.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

from models.engine_process import EngineProcess

MIDDLEWARE = ("models.vllm.guard.RequestGuard", "models.vllm.middleware.RequireKey")  # the last one runs first


class VllmServer(EngineProcess):
    """One run of vLLM's server; the arguments are those of `EngineProcess`.

    `model` is a checkpoint directory or a hub id; `arguments` are vLLM's; adapters are directories.
    """

    program: ClassVar[str] = "vLLM"
    gauges: ClassVar[Mapping[str, str]] = {
        "vllm:num_requests_running": "running",
        "vllm:num_requests_waiting": "waiting",
        "vllm:kv_cache_usage_perc": "kv_cache_usage",
        "vllm:iteration_tokens_total_count": "steps",
    }

    def command(self) -> Sequence[str]:
        """See `EngineProcess`."""
        adapters = [
            json.dumps({"name": name, "path": path, "base_model_name": self.served_name})
            for name, path in self._adapters.items()
        ]
        return [
            sys.executable, "-m", "vllm.entrypoints.openai.api_server",
            "--model", self._model, "--served-model-name", self.served_name,
            "--host", self._host, "--port", str(self.port),
            *(f"--middleware={each}" for each in MIDDLEWARE), "--disable-uvicorn-access-log",
            "--enable-prompt-tokens-details",  # how many of a prompt's tokens were in the prefix cache
            *(["--lora-modules", *adapters] if adapters else []),
            *self._arguments,
        ]  # fmt: skip

    def environment(self) -> Mapping[str, str]:
        """See `EngineProcess`."""
        return {
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75",  # s; longer than the gateway's, so that the gateway closes first
            "VLLM_MAX_N_SEQUENCES": "128",  # OpenAI's limit of `n`; with vLLM's, one request could fill any queue
            **self._environment,
        }
