"""On a CUDA device only (`make test-gpu`): the gpu profile answers with the model that this repository ships."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.support.local_stack import LocalStack

pytestmark = pytest.mark.gpu


@pytest.fixture
def gpu_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack of its own under the gpu profile, with a whole GPU for the engine."""
    stack = LocalStack(tmp_path_factory.mktemp("gpu-stack"))
    stack.env["BONDHU_PROFILE"] = "gpu"
    stack.edit_model("bondhu-demo", deployment={"num_gpus": 1}, engine={"gpu_memory_utilization": 0.3})
    try:
        stack.up()
        yield stack
    finally:
        stopped = stack.bondhu("down")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr


def test_the_demonstration_model_answers_on_a_gpu(gpu_stack: LocalStack) -> None:
    """The same application, model file and client work on a GPU, and the engine frees it afterwards."""
    with OpenAI(base_url=f"{gpu_stack.url}/v1", api_key=gpu_stack.api_key, max_retries=0, timeout=120) as client:
        reply = client.chat.completions.create(
            model="bondhu-demo", messages=[{"role": "user", "content": "Hi there!"}], max_tokens=24
        )
    assert reply.choices[0].message.content
    assert reply.usage is not None
    assert 0 < reply.usage.completion_tokens <= 24
