"""vLLM's OpenAI server as an engine process.

``python -m vllm.entrypoints.openai.api_server`` with every configured argument. It re-implements nothing of vLLM and
imports nothing of it.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from models.engine_process import EngineProcess

MIDDLEWARE = "models.vllm_middleware.RequireKey"


class VllmServer(EngineProcess):
    """A single boot of vLLM's server.

    Args:
        model: the checkpoint directory or hub id, as vLLM takes it.
        served_name: the model id that requests name.
        arguments: vLLM command-line arguments after the model.
        environment: what is added to this process's environment.
        host: the address to listen on.
        log_path: where its output goes (appended).
        tether: the command prefix that ends the process with its starter.
        adapters: directories of LoRA adapters by the model ids that requests name.

    """

    program: ClassVar[str] = "vLLM"
    gauges: ClassVar[Mapping[str, str]] = {
        "vllm:num_requests_running": "running",
        "vllm:num_requests_waiting": "waiting",
        "vllm:kv_cache_usage_perc": "kv_cache_usage",
    }

    def __init__(
        self,
        *,
        model: str,
        served_name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        host: str,
        log_path: Path,
        tether: Sequence[str],
        adapters: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(served_name=served_name, host=host, log_path=log_path, tether=tether)
        self._host = host
        self._model = model
        self._arguments = tuple(arguments)
        self._environment = dict(environment)
        self._adapters = dict(adapters or {})

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
            "--middleware", MIDDLEWARE, "--disable-uvicorn-access-log",
            "--enable-prompt-tokens-details",  # how many of a prompt's tokens were in the prefix cache
            *(["--lora-modules", *adapters] if adapters else []),
            *self._arguments,
        ]  # fmt: skip

    def environment(self) -> Mapping[str, str]:
        """See `EngineProcess`."""
        return {
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75",  # s; a gateway lets an idle connection go before the engine does
            "VLLM_MAX_N_SEQUENCES": "128",  # OpenAI's own bound on `n`; vLLM's would let one request fill any queue
            **self._environment,
        }
