"""Chunks put together: the same completion that a client would have got without streaming."""

from typing import Any

from models.chat_chunks import collect

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m"}


def chunk(delta: dict[str, Any], *, index: int = 0, **choice: Any) -> dict[str, Any]:
    """A chunk of one choice."""
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": None, **choice}]}


def test_text_and_usage_are_put_together() -> None:
    """The pieces of the text join, the end's fields stand, the object is a completion."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert collect(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hello"}),
            chunk({"content": " there"}),
            chunk({}, finish_reason="stop", stop_reason="END"),
            {**HEAD, "choices": [], "usage": usage},
        ]
    ) == {
        **HEAD,
        "object": "chat.completion",
        "usage": usage,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there"},
                "logprobs": None,
                "finish_reason": "stop",
                "stop_reason": "END",
            }
        ],
    }


def test_choices_are_kept_apart() -> None:
    """With n > 1 the chunks of the choices come mixed."""
    completion = collect(
        [
            chunk({"role": "assistant", "content": "b"}, index=1),
            chunk({"role": "assistant", "content": "a"}),
            chunk({"content": "b"}, index=1, finish_reason="length"),
            {
                **HEAD,
                "choices": [chunk({"content": "a"})["choices"][0], chunk({"content": "b"}, index=1)["choices"][0]],
            },
            chunk({}, finish_reason="stop"),
        ]
    )
    choices = [(each["index"], each["message"]["content"], each["finish_reason"]) for each in completion["choices"]]
    assert choices == [(0, "aa", "stop"), (1, "bbb", "length")]


def test_tool_calls_join_by_index() -> None:
    """Arguments come in pieces, of several calls in turn; ids and names come once; foreign fields stay."""

    def call(index: int, arguments: str, **fields: Any) -> dict[str, Any]:
        name = fields.pop("name", None)
        return {"index": index, "function": {"name": name, "arguments": arguments}, **fields}

    signed = {"google": {"thought_signature": "c2ln"}}
    completion = collect(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"tool_calls": [call(0, "", id="a", type="function", name="f", extra_content=signed)]}),
            chunk({"tool_calls": [call(1, '{"y"', id="b", type="function", name="g"), call(0, '{"x": 1')]}),
            chunk({"tool_calls": [call(0, "}"), call(1, ": 2}")]}),
            chunk({}, finish_reason="tool_calls"),
        ]
    )
    assert completion["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "a",
                "type": "function",
                "function": {"name": "f", "arguments": '{"x": 1}'},
                "extra_content": signed,
            },
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": '{"y": 2}'}},
        ],
    }


def test_logprobs_and_reasoning_join() -> None:
    """Lists follow one another, further texts of the delta join like the content."""
    completion = collect(
        [
            chunk({"role": "assistant", "reasoning": "So"}, logprobs=None),
            chunk({"reasoning": " then", "content": None}),
            chunk({"content": "a"}, logprobs={"content": [{"token": "a"}]}),
            chunk({"content": "b"}, logprobs={"content": [{"token": "b"}]}),
        ]
    )
    (choice,) = completion["choices"]
    assert choice["message"] == {"role": "assistant", "content": "ab", "reasoning": "So then"}
    assert choice["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_chunks_are_left_as_they_were() -> None:
    """The caller may still hold them."""
    chunks = [chunk({"content": "a"}, logprobs={"content": [1]}), chunk({"content": "b"}, logprobs={"content": [2]})]
    collect(chunks)
    assert chunks == [
        chunk({"content": "a"}, logprobs={"content": [1]}),
        chunk({"content": "b"}, logprobs={"content": [2]}),
    ]


def test_no_chunks_make_no_choices() -> None:
    """A stream that was empty has nothing to show."""
    assert collect([]) == {"object": "chat.completion", "choices": []}
