"""What a request used is freed when it ends: the collector, which would stop all others for it, has nothing to do."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from serving.generation.pipeline import Generation
from serving.protocol.record import RequestRecord
from serving.protocol.response import ResponseWriter
from serving.streams.reader import RecordingReader
from serving.streams.recording import Recording
from tests.serving.gateway.conftest import Application, Message

REQUESTS = 20
KINDS = (Generation, RequestRecord, ResponseWriter, RecordingReader, Recording)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Do without the collector."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("temperature", [0, 1], ids=["shared", "alone"])
async def test_a_request_leaves_no_cycles(application: Application, temperature: int, no_collector: None) -> None:
    """Nothing of it is left after it without a collection."""

    async def send(_: Message) -> None:
        """Take what comes."""

    for number in range(REQUESTS):
        messages = [{"role": "user", "content": f"Hi {number}"}]
        await application.stream(send, temperature=temperature, messages=messages)
    for _ in range(100):  # a shared generation's task ends after its last reader
        await asyncio.sleep(0.01)
        left = [type(each).__name__ for each in gc.get_objects() if isinstance(each, KINDS)]
        if not left:
            break
    assert not left
