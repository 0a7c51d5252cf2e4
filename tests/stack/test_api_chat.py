"""POST /v1/chat/completions as the official `openai` client uses it, answered by each real engine."""

import asyncio
import json
from typing import Any, Literal

import httpx
import jsonschema
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionToolParam
from pydantic import BaseModel
from tokenizers import Tokenizer

from tests.support.local_stack import REPOSITORY
from tests.support.services import Service, not_by_llama_cpp, of_each_engine

pytestmark = of_each_engine
MODEL = "bondhu-demo"
HELLO: Any = [{"role": "user", "content": "Hi! I just moved to Berlin."}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"enum": ["Berlin", "Dhaka", "Lima"]},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
CLOCK: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}},
}


def say(client: OpenAI, **changes: Any) -> ChatCompletion:
    """One short greedy answer, whatever it is; `changes` are further parameters."""
    params = {"model": MODEL, "messages": HELLO, "max_tokens": 24, "temperature": 0} | changes
    return client.chat.completions.create(**params)


def text_of(answer: ChatCompletion) -> str:
    """The first choice's text."""
    assert answer.choices[0].message.content is not None
    return answer.choices[0].message.content


def test_a_stranger_chats(client: OpenAI) -> None:
    """A message is answered with an assistant's message, its length and the model's id."""
    answer = say(client)
    assert text_of(answer)
    assert answer.object == "chat.completion"
    assert answer.model == MODEL
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert 0 < answer.usage.completion_tokens <= 24


def test_a_conversation_goes_on_over_several_turns(client: OpenAI) -> None:
    """Earlier turns and a system message count as prompt."""
    turns: list[Any] = [{"role": "system", "content": "You are kind."}, *HELLO]
    first = say(client, messages=turns)
    turns += [{"role": "assistant", "content": text_of(first)}, {"role": "user", "content": "And what do you like?"}]
    second = say(client, messages=turns)
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.prompt_tokens > first.usage.prompt_tokens
    assert second.choices[0].message.role == "assistant"


def test_content_may_come_in_parts(client: OpenAI) -> None:
    """A list of text parts means the same as their text."""
    parts = [{"type": "text", "text": HELLO[0]["content"]}]
    assert text_of(say(client, messages=[{"role": "user", "content": parts}])) == text_of(say(client))


def test_parts_of_a_message_are_lines_of_their_own(client: OpenAI) -> None:
    """Two parts reach the model as the same text in two lines does."""
    lines = ["You are a warm friend.", "They are called Maya."]
    parts = [{"type": "text", "text": line} for line in lines]
    answers = [
        say(client, messages=[{"role": "system", "content": content}, *HELLO]) for content in (parts, "\n".join(lines))
    ]
    assert text_of(answers[0]) == text_of(answers[1])
    assert {answer.usage.prompt_tokens for answer in answers if answer.usage} == {answers[0].usage.prompt_tokens}


def test_marks_are_for_the_gateway_alone(client: OpenAI) -> None:
    """A conversation with marks is answered as the same one without."""
    plain = [{"role": "system", "content": "You are a friend."}, {"role": "user", "content": "Hi!"}]
    marked = [plain[0] | {"bondhu": {"private": "memory"}}, plain[1]]
    answers = [say(client, messages=messages, temperature=0) for messages in (plain, marked)]
    assert text_of(answers[0]) == text_of(answers[1])
    assert {answer.usage.prompt_tokens for answer in answers if answer.usage} == {answers[0].usage.prompt_tokens}


def test_the_alias_means_the_active_model(client: OpenAI) -> None:
    """`bondhu` answers as the active model, and the reply names what really answered."""
    raw = client.chat.completions.with_raw_response.create(model="bondhu", messages=HELLO, max_tokens=4)
    assert raw.parse().model == MODEL
    assert raw.headers["x-bondhu-model"].startswith(f"{MODEL}; revision=")
    assert "quantization=" in raw.headers["x-bondhu-model"]


async def test_the_asynchronous_client_chats_concurrently(async_client: AsyncOpenAI) -> None:
    """Sixteen conversations at once are all answered."""
    answers = await asyncio.gather(
        *(async_client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=8) for _ in range(16))
    )
    assert all(answer.choices[0].message.content is not None for answer in answers)
    assert len({answer.id for answer in answers}) == 16


def test_a_stream_says_what_a_plain_answer_says(client: OpenAI) -> None:
    """The deltas of a stream join to the text of the same request without streaming."""
    plain = say(client)
    with client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=24, temperature=0, stream=True
    ) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text_of(plain)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == plain.choices[0].finish_reason
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks), "usage only for who asks"


def test_a_stream_arrives_as_it_is_generated(client: OpenAI) -> None:
    """A stream is not held back: many chunks, each a few tokens."""
    extra = {"ignore_eos": True}
    with client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=64, stream=True, extra_body=extra
    ) as stream:
        pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
    assert len([piece for piece in pieces if piece]) > 16


def test_a_stream_ends_with_usage_for_who_asks(client: OpenAI) -> None:
    """`stream_options.include_usage` adds one last chunk that has usage and no choices."""
    with client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=8, stream=True, stream_options={"include_usage": True}
    ) as stream:
        *others, last = list(stream)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens
    assert all(chunk.usage is None for chunk in others)


def test_a_stream_is_server_sent_events(http: httpx.Client) -> None:
    """The bytes are `data: {json}` events, each followed by a blank line, and the last says [DONE]."""
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 8, "stream": True}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-bondhu-model"].startswith(MODEL)
    assert answer.headers["x-request-id"]
    events = answer.text.split("\n\n")
    assert events.pop() == ""
    assert events.pop() == "data: [DONE]"
    assert all(json.loads(event.removeprefix("data: "))["id"] for event in events)


async def test_the_asynchronous_client_streams(async_client: AsyncOpenAI) -> None:
    """`async for` over a stream yields the same text as a plain request."""
    plain = await async_client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=16, temperature=0)
    stream = await async_client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=16, temperature=0, stream=True
    )
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(pieces) == plain.choices[0].message.content


def test_several_choices(client: OpenAI, engine_service: Service) -> None:
    """`n` gives that many choices, numbered."""
    with not_by_llama_cpp(engine_service, "n"):
        answer = say(client, n=3, temperature=1, max_tokens=8)
        assert sorted(choice.index for choice in answer.choices) == [0, 1, 2]


def test_a_stop_sequence_ends_the_text_before_it(client: OpenAI) -> None:
    """The text ends where `stop` would begin, and `finish_reason` is `stop`."""
    whole = text_of(say(client, extra_body={"ignore_eos": True}))
    stop = whole[len(whole) // 2 :][:4]
    cut = say(client, stop=[stop, "never said"], extra_body={"ignore_eos": True})
    assert text_of(cut) == whole[: whole.index(stop)]
    assert cut.choices[0].finish_reason == "stop"


def test_a_seed_repeats_a_sampled_answer(client: OpenAI) -> None:
    """The same seed at temperature 1 gives the same text; other seeds give others."""
    long = {"ignore_eos": True}
    texts = [text_of(say(client, temperature=1, seed=seed, extra_body=long)) for seed in (7, 7, 8, 9)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


def test_logprobs_of_every_token(client: OpenAI) -> None:
    """`logprobs` with `top_logprobs` gives each token's own and the best few, likeliest first."""
    answer = say(client, logprobs=True, top_logprobs=3, extra_body={"ignore_eos": True})
    assert answer.usage is not None
    assert answer.choices[0].logprobs is not None
    tokens = answer.choices[0].logprobs.content or []
    assert len(tokens) == answer.usage.completion_tokens
    for token in tokens:
        likely = [each.logprob for each in token.top_logprobs]
        assert len(likely) == 3
        assert likely == sorted(likely, reverse=True)
        assert token.logprob <= 0


def test_penalties_make_repetition_rarer(client: OpenAI) -> None:
    """Frequency and presence penalties lead to more different tokens."""

    def different(**penalties: float) -> int:
        answer = say(client, max_tokens=96, logprobs=True, extra_body={"ignore_eos": True}, **penalties)
        assert answer.choices[0].logprobs is not None
        return len({token.token for token in answer.choices[0].logprobs.content or []})

    assert different(frequency_penalty=2.0, presence_penalty=2.0) > different()


def test_a_bias_decides(client: OpenAI) -> None:
    """`logit_bias` of 100 makes the engine say that token."""
    answer = say(client, logit_bias={"300": 100}, logprobs=True, max_tokens=4, extra_body={"ignore_eos": True})
    assert answer.choices[0].logprobs is not None
    assert len({token.token for token in answer.choices[0].logprobs.content or []}) == 1


@pytest.mark.parametrize("parameter", ["max_tokens", "max_completion_tokens"])
def test_an_answer_is_never_longer_than_allowed(client: OpenAI, parameter: str) -> None:
    """`max_completion_tokens`, and its old name, end the answer with `finish_reason` `length`."""
    params: dict[str, Any] = {"model": MODEL, "messages": HELLO, parameter: 5, "extra_body": {"ignore_eos": True}}
    answer = client.chat.completions.create(**params)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.choices[0].finish_reason == "length"


def test_engine_sampling_fields_reach_the_engine(client: OpenAI, engine_service: Service) -> None:
    """The engine's own `top_k` and `min_tokens` work: only likeliest tokens are drawn, and enough of them."""
    drawn = say(client, temperature=2, logprobs=True, top_logprobs=1, extra_body={"top_k": 1}).choices[0].logprobs
    assert drawn is not None
    for token in drawn.content or []:
        assert token.logprob == max(likeliest.logprob for likeliest in token.top_logprobs)
    with not_by_llama_cpp(engine_service, "min_tokens"):
        answer = say(client, extra_body={"min_tokens": 20})
        assert answer.usage is not None
        assert answer.usage.completion_tokens >= 20


def test_a_guided_choice_is_one_of_the_choices(client: OpenAI) -> None:
    """The engine's `structured_outputs` with a choice yields exactly one of them."""
    answer = say(client, temperature=1, extra_body={"structured_outputs": {"choice": ["thumbs up", "thumbs down"]}})
    assert text_of(answer) in ("thumbs up", "thumbs down")


def test_a_guided_pattern_matches(client: OpenAI, engine_service: Service) -> None:
    """The engine's `structured_outputs` with a regular expression yields a match."""
    with not_by_llama_cpp(engine_service, "structured_outputs"):
        answer = say(client, extra_body={"structured_outputs": {"regex": r"[0-9]{3}-[a-f]{2}"}})
        assert len(text_of(answer)) == 6


def test_json_schema_answers_validate(client: OpenAI) -> None:
    """An answer under `response_format` with a JSON schema parses and conforms."""
    schema = {
        "type": "object",
        "properties": {
            "mood": {"enum": ["happy", "sad", "calm"]},
            "intensity": {"type": "integer", "minimum": 1, "maximum": 5},
            "wants_music": {"type": "boolean"},
        },
        "required": ["mood", "intensity", "wants_music"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "mood", "schema": schema, "strict": True}}
    answer = say(client, response_format=form, max_tokens=120)
    assert answer.choices[0].finish_reason == "stop", text_of(answer)
    jsonschema.validate(json.loads(text_of(answer)), schema)


def test_the_client_parses_into_a_type(client: OpenAI) -> None:
    """The official client's `parse` returns an instance of the given model."""

    class Feeling(BaseModel):
        kind: Literal["joy", "sorrow", "anger"]
        strong: bool

    answer = client.chat.completions.parse(
        model=MODEL, messages=HELLO, response_format=Feeling, max_tokens=120, temperature=0
    )
    assert isinstance(answer.choices[0].message.parsed, Feeling)


def test_a_named_tool_is_called(client: OpenAI) -> None:
    """With `tool_choice` naming a function, the answer calls it with arguments that conform."""
    choice = {"type": "function", "function": {"name": "get_weather"}}
    answer = say(client, tools=[WEATHER, CLOCK], tool_choice=choice, max_tokens=120)
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert call.id
    jsonschema.validate(json.loads(call.function.arguments), WEATHER["function"]["parameters"])


def test_a_required_tool_is_called(client: OpenAI) -> None:
    """With `tool_choice` `required` some function is called, with arguments that conform."""
    # So small a model never ends the list of calls by itself: it is biased to end it where the grammar lets it.
    tokens = Tokenizer.from_file(str(REPOSITORY / "models/demo/quantised/tokenizer.json")).get_vocab()
    bias = {str(number): -100 for token, number in tokens.items() if "}," in token} | {str(tokens["]"]): 100}
    answer = say(client, tools=[WEATHER], tool_choice="required", max_tokens=160, logit_bias=bias)
    calls = answer.choices[0].message.tool_calls or []
    assert calls, answer
    assert calls[0].type == "function"
    assert calls[0].function.name == "get_weather"
    jsonschema.validate(json.loads(calls[0].function.arguments), WEATHER["function"]["parameters"])


def test_no_tool_is_called_against_the_callers_choice(client: OpenAI) -> None:
    """With `tool_choice` `none` the answer is text."""
    answer = say(client, tools=[WEATHER], tool_choice="none")
    assert not answer.choices[0].message.tool_calls
    assert answer.choices[0].message.content is not None


def test_the_model_may_choose_a_tool(client: OpenAI) -> None:
    """With `tool_choice` `auto` the answer is text or well-formed calls of the given functions."""
    answer = say(client, tools=[WEATHER, CLOCK], tool_choice="auto", max_tokens=60)
    message = answer.choices[0].message
    assert message.content is not None or message.tool_calls
    for call in message.tool_calls or []:
        assert call.type == "function"
        assert call.function.name in ("get_weather", "get_time")
        json.loads(call.function.arguments)


def test_a_streamed_tool_call_joins_to_valid_arguments(client: OpenAI) -> None:
    """The argument deltas of a streamed call join to JSON that conforms."""
    with client.chat.completions.create(
        model=MODEL,
        messages=HELLO,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        max_tokens=120,
        temperature=0,
        stream=True,
    ) as stream:
        deltas = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    named = [delta.function.name for delta in deltas if delta.function and delta.function.name]
    arguments = "".join(delta.function.arguments or "" for delta in deltas if delta.function)
    assert named[0] == "get_weather"
    jsonschema.validate(json.loads(arguments), WEATHER["function"]["parameters"])


def test_a_tools_result_goes_back_to_the_model(client: OpenAI) -> None:
    """A conversation with a call and its result is continued in text."""
    call = {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    turns = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
    ]
    assert say(client, messages=turns, tools=[CLOCK]).choices[0].message.content is not None
