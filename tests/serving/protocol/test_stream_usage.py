"""Token counts read off vLLM's events, however these are cut into pieces."""

import orjson
import pytest

from serving.protocol.sse import joined
from serving.protocol.stream_usage import StreamMeter, usage_of_body, with_running_counts
from serving.protocol.usage import Usage

HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
TRAP = 'say ","usage":{"prompt_tokens":999}'


def event(text: str, tokens: int, index: int = 0) -> bytes:
    """An event of one token, with the running counts as vLLM writes them."""
    choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
    counts = {"prompt_tokens": 7, "total_tokens": 7 + tokens, "completion_tokens": tokens}
    return b"data: " + orjson.dumps({**HEAD, "choices": [choice], "usage": counts}) + b"\n\n"


LAST = (
    b"data: "
    + orjson.dumps(
        {
            **HEAD,
            "choices": [],
            "usage": {
                "prompt_tokens": 7,
                "total_tokens": 10,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
        }
    )
    + b"\n\n"
)
DONE = b"data: [DONE]\n\n"
STREAM = event("a", 1) + event(TRAP, 2) + event("c", 3) + LAST + DONE


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_counts_are_taken_out_however_the_stream_is_cut(size: int) -> None:
    """A client that did not ask sees neither counts nor the event that only has them; texts stay as they are."""
    meter = StreamMeter(None)
    seen = b"".join(joined(meter.feed(STREAM[at : at + size])) for at in range(0, len(STREAM), size))
    events = [orjson.loads(line[6:]) for line in seen.split(b"\n\n") if line.startswith(b"data: {")]
    assert [each["choices"][0]["delta"]["content"] for each in events] == ["a", TRAP, "c"]
    assert not any("usage" in each for each in events)
    assert seen.endswith(DONE)
    assert meter.usage == Usage(7, 4, 3)


def test_a_comment_of_the_engines_is_no_event() -> None:
    """It keeps the connection to the gateway alive, and means nothing to a client."""
    meter = StreamMeter(None)
    (passed,) = meter.feed(b": keep-alive\n\n" + event("a", 1))
    assert passed.chunk is not None
    assert meter.problem is None


def test_a_client_gets_the_counts_that_it_requested() -> None:
    """The last ones with `include_usage`, all of them with vLLM's `continuous_usage_stats`."""
    last, every = (
        StreamMeter({"include_usage": True}),
        StreamMeter({"include_usage": True, "continuous_usage_stats": True}),
    )
    counted = joined(last.feed(STREAM))
    assert counted.count(b'"total_tokens"') == 1
    assert counted.count(b',"usage":null}') == 3, "as OpenAI has it"
    assert joined(every.feed(STREAM)) == STREAM


def test_a_stream_that_broke_has_counts() -> None:
    """The counts of a stream that ended early are those of its last event; of several choices, their sum."""
    meter = StreamMeter(None)
    meter.feed(event("a", 1) + event("b", 2) + event("c", 3)[:40])
    assert meter.usage == Usage(7, 0, 2)
    several = StreamMeter(None)
    several.feed(event("a", 5, index=0) + event("b", 3, index=1))
    assert several.usage == Usage(7, 0, 8)
    assert StreamMeter(None).usage == Usage()


def test_a_broken_event_is_reported() -> None:
    """No client gets an event that cannot be read, and a stream without its end is not complete."""
    meter = StreamMeter(None)
    assert len(meter.feed(event("a", 1) + event("b", 2)[:40] + b"\n\n" + event("c", 3))) == 1
    assert meter.problem
    assert not meter.is_complete
    whole = StreamMeter(None)
    whole.feed(STREAM)
    assert whole.is_complete
    assert whole.problem is None


def test_a_whole_answer_has_counts() -> None:
    """The counts of an answer that did not stream; zeros where there are none."""
    body = orjson.dumps(
        {"choices": [{"message": {"content": TRAP}}], "usage": {"prompt_tokens": 2, "completion_tokens": 5}}
    )
    assert usage_of_body(body) == Usage(2, 0, 5)
    assert usage_of_body(b'{"choices":[]}') == Usage()


def test_the_request_keeps_its_own_options() -> None:
    """Asking for running counts adds to the stream's options and takes none away."""
    body = with_running_counts({"model": "m", "stream_options": {"other": 1}})
    assert body == {
        "model": "m",
        "stream_options": {"other": 1, "include_usage": True, "continuous_usage_stats": True},
    }
