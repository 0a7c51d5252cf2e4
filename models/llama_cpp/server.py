"""llama.cpp's server as an engine process (`python -m models.llama_cpp.front`). Imports nothing of llama.cpp."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from models.engine_process import EngineProcess


class LlamaCppServer(EngineProcess):
    """A single boot of llama.cpp's server.

    Args:
        model: the GGUF file.
        served_name: the model id that requests name.
        arguments: of `models.llama_cpp.front`, as `serving.cluster.manifest` makes them.
        environment: what is added to this process's environment.
        host: the address to listen on.
        log_path: where its output goes (appended).
        tether: the command prefix that ends the process with its starter.
        adapters: LoRA adapters, peft's directories or GGUF files, by the model ids that requests name.

    """

    program: ClassVar[str] = "llama.cpp"
    gauges: ClassVar[Mapping[str, str]] = {
        "llamacpp:requests_processing": "running",
        "llamacpp:requests_deferred": "waiting",
        "llamacpp:tokens_predicted_total": "steps",
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
        return [
            sys.executable, "-m", "models.llama_cpp.front",
            f"--model={self._model}", f"--served-name={self.served_name}",
            f"--host={self._host}", f"--port={self.port}",
            *(f"--adapter={name}={path}" for name, path in self._adapters.items()),
            *self._arguments,
        ]  # fmt: skip

    def environment(self) -> Mapping[str, str]:
        """See `EngineProcess`."""
        return self._environment
