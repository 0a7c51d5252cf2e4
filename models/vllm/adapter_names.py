"""Names of adapters inside an engine: `ID@REVISION`, while responses name them `ID`.

vLLM tells adapters apart by name: of two revisions with one name, requests of a batch would use either, and the prefix
cache would mix what they computed. So each revision has a name of its own there, and a new one is loaded while requests
for the old one still run. The server's answers would show that name, so `install` shortens it where vLLM writes it.
"""

import importlib
from typing import Any

MODELS = "vllm.entrypoints.openai.models.serving"
SEPARATOR = "@"  # no model id has one


def engine_name(adapter: str, revision: str) -> str:
    """The name of a revision of an adapter, which may itself be named so already."""
    return f"{adapter_of(adapter)}{SEPARATOR}{revision}"


def adapter_of(name: str) -> str:
    """The adapter's own id."""
    return name.partition(SEPARATOR)[0]


def install() -> None:
    """Make this process's vLLM server write adapters' own ids.

    Raises ImportError or AttributeError where vLLM has moved what writes them: then the server must not start.
    """
    models = importlib.import_module(MODELS).OpenAIServingModels
    if getattr(models.model_name, "writes_own_ids", False):
        return
    original = models.model_name

    def model_name(self: Any, lora_request: Any = None) -> str:
        return adapter_of(original(self, lora_request))

    model_name.writes_own_ids = True  # type: ignore[attr-defined]  # read above
    models.model_name = model_name
