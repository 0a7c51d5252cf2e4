"""vLLM's OpenAI server as an engine process.

It runs `python -m vllm.entrypoints.openai.api_server` with every configured argument, and does not import vLLM.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

from models.engine_process import CommandRefused, EngineProcess
from models.vllm.adapter_names import engine_name

SLEEP_MODE = "--enable-sleep-mode"
MIDDLEWARE = ("models.vllm.guard.RequestGuard", "models.vllm.middleware.RequireKey")  # the last one runs first

_MEMORY = {  # docs/operating.md, "Memory": without them the default model's engine grew by 1.6 GB in 15 minutes
    # On a CPU oneDNN keeps a product of 268 kB for each shape of weights and number of rows that a batch had.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",  # its own: 1,024
    # glibc raises this to 32 MB by itself, and keeps what a long prompt took once.
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}


class VllmServer(EngineProcess):
    """One run of vLLM's server; the arguments are those of `EngineProcess`.

    `model` is a checkpoint directory or a hub id; `arguments` are vLLM's; adapters are directories.
    """

    _loaded: frozenset[str] = frozenset()  # names of adapters that were loaded while it ran

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
            **_MEMORY,
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",  # by whoever has the engine's key: no client
            **({"VLLM_SERVER_DEV_MODE": "1"} if SLEEP_MODE in self._arguments else {}),  # has /sleep and /wake_up
            **self._environment,
        }

    async def sleep(self) -> bool:
        """See `EngineProcess`; the weights go to the host's memory (level 1)."""
        return await self._try("/sleep?level=1")

    async def wake(self) -> bool:
        """See `EngineProcess`."""
        return await self._try("/wake_up")

    async def _try(self, path: str) -> bool:
        try:
            await self.control(path, {})
        except CommandRefused:
            return False
        return True

    async def load_adapter(self, adapter: str, revision: str, path: str) -> str:
        """Load a revision of an adapter beside what is served; return its name in requests. Raises CommandRefused."""
        name = engine_name(adapter, revision)
        if name not in self._loaded:
            await self.control("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})
            self._loaded |= {name}
        return name

    async def unload_adapter(self, name: str) -> None:
        """Accept no more requests for an adapter; those that run go on. Raises CommandRefused."""
        await self.control("/v1/unload_lora_adapter", {"lora_name": name})
        self._loaded -= {name}
