"""How a broken stream is gone on with: what was sent, what is asked for the rest, what the client sees."""

from typing import Any

import orjson
import pytest

from serving.generation.continuation import PartialAnswer, StreamSplicer, can_be_continued, is_spent, read_back, rest_of
from serving.protocol.request import CHAT, COMPLETION, GenerationRequest

HELLO = [{"role": "user", "content": "Hi"}]


def new_request(path: str = CHAT, **fields: Any) -> GenerationRequest:
    """A call for a stream with these fields."""
    body = {"messages": HELLO} if path == CHAT else {"prompt": "Once"}
    return GenerationRequest(path, {**body, "stream": True, **fields}, "m", "r", "app", None, "interactive", False)


def sent(*texts: str, finish: str | None = None) -> list[bytes]:
    """The events of a chat stream that broke off."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": text} for text in texts)]
    chunks = [{"id": "c1", "created": 5, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    if finish:
        chunks[-1]["choices"][0]["finish_reason"] = finish
    return [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks]


BEGINNING = PartialAnswer("c1", 5, "Hello th", 3, 9, False)


def test_what_was_sent_is_read_back() -> None:
    """The text, id and instant of the stream; whether it was all but its end."""
    assert read_back(sent("Hello", " th"), completion_tokens=3, prompt_tokens=9) == BEGINNING
    whole = read_back(sent("Hello", finish="stop"), completion_tokens=1, prompt_tokens=9)
    assert whole is not None
    assert whole.finished


def test_tool_calls_are_not_read_back() -> None:
    """Half a tool call cannot be gone on with."""
    calls = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{"}}]}
    event = {"id": "c1", "created": 5, "choices": [{"index": 0, "delta": calls}]}
    assert read_back([b"data: " + orjson.dumps(event) + b"\n\n"], completion_tokens=1, prompt_tokens=1) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"structured_outputs": {"regex": "a+"}},
        {"stream": False},
        {"continue_final_message": True},
    ],
)
def test_what_would_not_fit_together_is_not_continued(fields: dict[str, Any]) -> None:
    """Several choices, tools, guided output, and what does not stream."""
    assert can_be_continued(new_request())
    assert not can_be_continued(new_request(**fields))


def test_only_a_text_prompt_is_continued() -> None:
    """A completion of one text can be; of several, or of token ids, it cannot."""
    assert can_be_continued(new_request(COMPLETION))
    assert not can_be_continued(new_request(COMPLETION, prompt=["a", "b"]))
    assert not can_be_continued(new_request(COMPLETION, echo=True))


def test_the_rest_of_a_chat_accounts_for_what_was_sent() -> None:
    """Fewer tokens, a seed moved on, penalties charged, and the text as the message to be continued."""
    request = new_request(
        max_tokens=10, min_tokens=5, seed=1, frequency_penalty=0.5, presence_penalty=1, logit_bias={"7": 2}
    )
    rest = rest_of(request, BEGINNING, [7, 8, 8])
    assert (rest["max_tokens"], rest["min_tokens"], rest["seed"]) == (7, 2, 4)
    assert rest["logit_bias"] == {"7": 0.5, "8": -2.0}
    assert rest["messages"] == [*HELLO, {"role": "assistant", "content": "Hello th"}]
    assert (rest["continue_final_message"], rest["add_generation_prompt"]) == (True, False)


def test_the_rest_of_a_completion_continues_its_prompt() -> None:
    """The text goes behind the prompt."""
    assert rest_of(new_request(COMPLETION), BEGINNING, ())["prompt"] == "OnceHello th"


def test_a_stream_with_all_its_tokens_needs_no_rest() -> None:
    """What the client allowed has been generated: only the end is missing."""
    assert is_spent(new_request(max_tokens=3), BEGINNING)
    assert not is_spent(new_request(max_tokens=4), BEGINNING)
    assert not is_spent(new_request(), BEGINNING)


def test_the_second_stream_looks_like_the_first() -> None:
    """Its id and instant are the first's, its role is not repeated, and usage counts both."""
    splicer = StreamSplicer(BEGINNING, new_request(stream_options={"include_usage": True}))
    role = {"id": "c2", "created": 6, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
    text = {"id": "c2", "created": 6, "choices": [{"index": 0, "delta": {"content": "ere"}}]}
    counts = {"id": "c2", "created": 6, "choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 4}}
    assert splicer.chunk(role) is None
    seen, counted = splicer.chunk(text), splicer.chunk(counts)
    assert seen is not None
    assert (seen["id"], seen["created"]) == ("c1", 5)
    assert counted is not None
    assert counted["usage"] == {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
    assert StreamSplicer(BEGINNING, new_request()).chunk(counts) is None
