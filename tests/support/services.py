"""The services under test: vLLM's engine in the whole stack, or llama.cpp's behind a gateway, with the same model."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from openai import BadRequestError

from tests.support.local_stack import LocalStack
from tests.support.models.llama_service import LlamaService

ENGINES = ("vllm", "llama_cpp")
Service = LocalStack | LlamaService

of_each_engine = pytest.mark.parametrize("engine_service", ENGINES, indirect=True)
"""Of a test, or of a module as its `pytestmark`: it is run against both."""


@contextmanager
def not_by_llama_cpp(service: Service, field: str) -> Iterator[None]:
    """A context for requests that llama.cpp cannot serve: it refuses them by field name, and vLLM serves them."""
    if service.kind == "vllm":
        yield
        return
    with pytest.raises(BadRequestError) as refusal:
        yield
    assert (refusal.value.param, refusal.value.code) == (field, "unsupported")
