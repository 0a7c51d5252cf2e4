"""Which errors of an engine's server mean that it is about to be gone, so that another target may be asked."""

import orjson
import pytest

from serving.engines.vllm_errors import is_ending

DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
STOPPING = "cannot schedule new futures after shutdown"


@pytest.mark.parametrize("message", [DEAD, STOPPING])
def test_a_server_whose_core_or_threads_are_gone_ends(message: str) -> None:
    """As vLLM 0.29 says it; the same words of a client's mistake, or within what it sent, mean nothing."""

    def body(text: str) -> bytes:
        return orjson.dumps({"error": {"message": text, "code": 500}})

    assert is_ending(500, body(message))
    assert not is_ending(400, body(message))
    assert not is_ending(500, body(f"no such role: {message}"))


@pytest.mark.parametrize(
    "body", [b"", b"EngineCore", b"[]", b'{"error": "EngineCore"}', b'{"error": {"message": null}}']
)
def test_an_unreadable_error_says_nothing(body: bytes) -> None:
    """It is no error of vLLM's."""
    assert not is_ending(500, body)
