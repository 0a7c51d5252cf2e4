"""llama.cpp's server as an engine process (`python -m models.llama_cpp.front`). Imports nothing of llama.cpp."""

import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

from models.engine_process import EngineProcess


class LlamaCppServer(EngineProcess):
    """One run of llama.cpp's server; the arguments are those of `EngineProcess`.

    `model` is the GGUF file; `arguments` are those of `models.llama_cpp.front`, made by `serving.cluster.manifest`;
    adapters are peft directories or GGUF files.
    """

    program: ClassVar[str] = "llama.cpp"
    gauges: ClassVar[Mapping[str, str]] = {
        "llamacpp:requests_processing": "running",
        "llamacpp:requests_deferred": "waiting",
        "llamacpp:tokens_predicted_total": "steps",
    }

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
