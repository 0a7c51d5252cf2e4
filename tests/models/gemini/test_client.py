"""Gemini through Google's own SDK, against a local server that speaks its protocol and goes wrong as it is told."""

import asyncio
import itertools
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from models.chat import BadRequest, ChatFailure, CutStream, Refused, TooLong, Unavailable
from models.chat_chunks import collect
from models.gemini.client import Gemini
from models.gemini.errors import (
    Empty,
    Filtered,
    FirstTokenTimeout,
    Quota,
    StallTimeout,
    ThoughtsOnly,
    TotalTimeout,
    Unsupported,
)
from tests.support.servers import gemini as google
from tests.support.servers.gemini_rules import SKIP

Json = dict[str, Any]

FLASH, SIGNING = "gemini-2.5-flash", "gemini-3-flash-preview"
HELLO = [{"role": "user", "content": "hello there"}]
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOLS = [{"type": "function", "function": WEATHER}]


@pytest.fixture
def server() -> Iterator[google.GeminiServer]:
    """Return a fresh server."""
    with google.GeminiServer() as started:
        yield started


@pytest.fixture
async def client(server: google.GeminiServer) -> AsyncIterator[Callable[..., Gemini]]:
    """Return a maker of clients of that server; timeouts are out of the way unless given."""
    made: list[Gemini] = []
    numbers = itertools.count(1)

    def make(model: str = FLASH, **options: Any) -> Gemini:
        defaults: Json = {"ttft_timeout_s": 60, "stall_timeout_s": 60, "total_timeout_s": 60, "thinking_tokens": 0}
        defaults |= {"max_answer_bytes": 2**24}
        defaults |= {"api_key": server.key, "base_url": server.url, "now": lambda: 1_700_000_000.9}
        made.append(Gemini(model=model, new_id=lambda: f"n{next(numbers)}", **{**defaults, **options}))
        return made[-1]

    yield make
    for gemini in made:
        await gemini.close()


async def chunks_of(gemini: Gemini, continue_from: str = "", **request: Any) -> list[Json]:
    """All chunks of an answer."""
    return [chunk async for chunk in gemini.chunks({"messages": HELLO, **request}, continue_from=continue_from)]


async def answer_of(gemini: Gemini, continue_from: str = "", **request: Any) -> tuple[Json, Json]:
    """The one choice of an answer, and its usage."""
    completion = collect(await chunks_of(gemini, continue_from, **request))
    (choice,) = completion["choices"]
    return choice, completion["usage"]


async def until_failure(gemini: Gemini, **request: Any) -> tuple[list[Json], ChatFailure]:
    """What comes before a failure, and the failure."""
    before = []
    try:
        async for chunk in gemini.chunks({"messages": HELLO, **request}):
            before.append(chunk)
    except ChatFailure as failure:
        return before, failure
    pytest.fail("it did not fail")


# --- answers


async def test_an_answer_is_a_stream_of_openai_chunks(client: Callable[..., Gemini]) -> None:
    """The role comes first, then the text as it comes, the finish reason, and the usage without choices."""
    chunks = await chunks_of(client())
    assert {(chunk["object"], chunk["model"], chunk["created"]) for chunk in chunks} == {
        ("chat.completion.chunk", FLASH, 1_700_000_000)
    }
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert [chunk["choices"][0]["delta"] for chunk in chunks[:-1]] == [
        {"role": "assistant", "content": ""},
        *({"content": word} for word in ("You", " said:", " hello", " there")),
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * 5 + ["stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 4


async def test_usage_counts_thoughts_as_completion(client: Callable[..., Gemini], server: google.GeminiServer) -> None:
    """Thought tokens are billed as output: they are part of the completion's, and told apart; cached ones as well."""
    server.script(google.text_script("Four words are here", prompt=20, thoughts=30, cachedContent=12))
    _, usage = await answer_of(client())
    assert usage == {
        "prompt_tokens": 20,
        "completion_tokens": 34,
        "total_tokens": 54,
        "prompt_tokens_details": {"cached_tokens": 12},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }


async def test_a_text_is_handed_on_before_the_next_exists(
    client: Callable[..., Gemini], server: google.GeminiServer
) -> None:
    """A stream is not held back."""
    server.script(google.stall("first"))
    stream = client().chunks({"messages": HELLO})
    assert (await anext(stream))["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert (await anext(stream))["choices"][0]["delta"] == {"content": "first"}
    server.release()
    rest = collect([chunk async for chunk in stream])
    assert rest["choices"][0]["message"]["content"] == "late"


async def test_thoughts_are_not_part_of_the_answer(client: Callable[..., Gemini], server: google.GeminiServer) -> None:
    """A thought summary that a server sends unasked is left out."""
    thought = {"text": "The user greets me.", "thought": True}
    server.script(google.Script((google.event(None, thought), google.event("Hi!", finish="STOP", candidates=1))))
    choice, _ = await answer_of(client())
    assert choice["message"]["content"] == "Hi!"


async def test_json_mode_answers_in_json(client: Callable[..., Gemini], server: google.GeminiServer) -> None:
    """A schema goes to Gemini as it is, with the mime type."""
    schema = {"type": "object", "properties": {"said": {"type": "string"}}, "additionalProperties": False}
    response_format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    choice, _ = await answer_of(client(), response_format=response_format)
    assert json.loads(choice["message"]["content"]) == {"said": "hello there"}
    config = server.requests[0].body["generationConfig"]
    assert (config["responseMimeType"], config["responseJsonSchema"]) == ("application/json", schema)


# --- tokens


@pytest.mark.parametrize("model", [FLASH, SIGNING, "gemini-2.5-pro", "gemini-2.0-flash", "gemini-3.1-pro-preview"])
async def test_max_tokens_are_of_the_answer_alone(client: Callable[..., Gemini], model: str) -> None:
    """Room for thoughts is added where the model thinks, and the answer is cut to what was asked for."""
    choice, usage = await answer_of(client(model), max_tokens=3)
    assert (choice["message"]["content"], choice["finish_reason"]) == ("You said: hello", "length")
    assert usage["completion_tokens"] - usage["completion_tokens_details"]["reasoning_tokens"] == 3


async def test_a_longer_answer_is_cut_where_the_limit_lies(
    client: Callable[..., Gemini], server: google.GeminiServer
) -> None:
    """Of one piece with too many tokens the share that was asked for goes out, and the connection is closed."""
    steps = google.text_script("aaa bbb ccc ddd ").steps
    server.script(google.Script((*steps, google.HOLD)))
    choice, usage = await answer_of(client(SIGNING), max_tokens=2)
    assert (choice["message"]["content"], choice["finish_reason"]) == ("aaa bbb ", "length")
    assert usage["completion_tokens"] == 2
    assert await asyncio.to_thread(server.left.wait, 30)


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "tokens"),
    [
        (FLASH, None, {"thinkingBudget": 0}, 10),
        (FLASH, "low", {"thinkingBudget": 1024}, 1034),
        ("gemini-2.5-flash-lite", "none", {"thinkingBudget": 0}, 10),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}, 138),
        ("gemini-2.0-flash", "high", None, 10),
        (SIGNING, "none", {"thinkingLevel": "LOW"}, 4106),
        (SIGNING, "medium", {"thinkingLevel": "MEDIUM"}, 16394),
        ("gemini-3.1-flash-lite", None, {"thinkingLevel": "MINIMAL"}, 2058),
        ("gemini-3.1-pro-preview", "minimal", {"thinkingLevel": "LOW"}, 4106),
    ],
)
async def test_thinking_is_as_little_as_the_model_allows(
    client: Callable[..., Gemini],
    server: google.GeminiServer,
    model: str,
    effort: str | None,
    thinking: Json | None,
    tokens: int,
) -> None:
    """Each model gets the control that it knows, and the room that its thoughts need; Google accepts both."""
    await answer_of(client(model), reasoning_effort=effort, max_tokens=10)
    config = server.requests[0].body["generationConfig"]
    assert (config.get("thinkingConfig"), config["maxOutputTokens"]) == (thinking, tokens)


# --- tool calls


async def test_parallel_calls_get_an_index_and_an_id(
    client: Callable[..., Gemini], server: google.GeminiServer
) -> None:
    """Gemini's calls have neither; over all pieces of the stream each gets its own."""
    first, second = google.call("weather", city="Dhaka"), google.call("weather", city="Berlin")
    third = google.call("weather", call_id="given", city="Rome")
    server.script(google.Script((google.event(None, first, second), google.event(None, third, finish="STOP"))))
    chunks = await chunks_of(client(), tools=TOOLS)
    deltas = [call for chunk in chunks[1:-2] for call in chunk["choices"][0]["delta"]["tool_calls"]]
    assert [delta["index"] for delta in deltas] == [0, 1, 2]
    ids = [delta["id"] for delta in deltas]
    assert len(set(ids)) == 3
    assert ids[2] == "given"
    assert [json.loads(delta["function"]["arguments"])["city"] for delta in deltas] == ["Dhaka", "Berlin", "Rome"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


async def test_without_parallel_calls_only_the_first_goes_out(
    client: Callable[..., Gemini], server: google.GeminiServer
) -> None:
    """Gemini cannot be told; the client still gets one."""
    parts = google.call("weather", city="Dhaka"), google.call("weather", city="Berlin")
    server.script(google.Script((google.event("Looking.", *parts, finish="STOP"),)))
    choice, _ = await answer_of(client(), tools=TOOLS, parallel_tool_calls=False)
    assert choice["message"]["content"] == "Looking."
    assert [call["function"]["arguments"] for call in choice["message"]["tool_calls"]] == ['{"city": "Dhaka"}']


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
@pytest.mark.parametrize("model", [FLASH, SIGNING])
async def test_a_call_and_its_result_go_round(client: Callable[..., Gemini], model: str, choice: Any) -> None:
    """What the client got is accepted back in the history, signature included, and the answer follows."""
    gemini = client(model)
    called, _ = await answer_of(gemini, tools=TOOLS, tool_choice=choice)
    (call,) = called["message"]["tool_calls"]
    assert ("extra_content" in call) == (model == SIGNING)
    result = {"role": "tool", "tool_call_id": call["id"], "content": "18 degrees"}
    choice, _ = await answer_of(gemini, tools=TOOLS, messages=[*HELLO, called["message"], result])
    assert choice["finish_reason"] == "stop"


async def test_a_call_of_another_model_is_accepted_in_the_history(
    client: Callable[..., Gemini], server: google.GeminiServer
) -> None:
    """A call without a signature, as the local model makes them, gets the value that stands for that; Google's stay."""

    def call(call_id: str, **extra: Any) -> Json:
        return {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": "{}"}, **extra}

    signed = {"extra_content": {"google": {"thought_signature": google.SIGNATURE}}}
    history = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "assistant", "content": "More.", "tool_calls": [call("c", **signed)]},
        {"role": "tool", "tool_call_id": "c", "content": "3"},
    ]
    await answer_of(client(SIGNING), messages=history, tools=TOOLS)
    parts = [part for content in server.requests[0].body["contents"] for part in content["parts"]]
    signatures = [part.get("thoughtSignature") for part in parts if "functionCall" in part]
    assert signatures == [SKIP, None, google.SIGNATURE]


# --- blocks, and answers that are none


@pytest.mark.parametrize(
    ("script", "failure", "reason"),
    [
        (google.prompt_block("PROHIBITED_CONTENT"), Filtered, "PROHIBITED_CONTENT"),
        (google.prompt_block("A_REASON_OF_TOMORROW"), Filtered, "A_REASON_OF_TOMORROW"),
        (google.Script((google.event(finish="SAFETY"),)), Filtered, "SAFETY"),
        (google.Script((google.event(finish="RECITATION"),)), Filtered, "RECITATION"),
        (google.empty_candidates(), Empty, "no candidates"),
        (google.Script(()), Empty, "no candidates"),
        (google.stop_without_parts(), Empty, "STOP"),
        (google.Script((google.event("", finish="STOP"),)), Empty, "STOP"),
        (google.Script((google.event(finish="MALFORMED_FUNCTION_CALL"),)), Empty, "MALFORMED_FUNCTION_CALL"),
        (google.thoughts_ate_the_budget(), ThoughtsOnly, "MAX_TOKENS"),
    ],
)
@pytest.mark.filterwarnings("ignore:A_REASON_OF_TOMORROW is not a valid")
async def test_no_answer_is_a_failure_before_anything_is_out(
    client: Callable[..., Gemini],
    server: google.GeminiServer,
    script: google.Script,
    failure: type[Filtered | Empty],
    reason: str,
) -> None:
    """With HTTP 200 and nothing in it, not even a role goes out: another model can still answer."""
    server.script(script)
    before, raised = await until_failure(client())
    assert before == []
    assert type(raised) is failure
    assert raised.reason == reason


async def test_a_block_after_the_beginning_ends_as_a_content_filter(
    client: Callable[..., Gemini], server: google.GeminiServer
) -> None:
    """The client keeps what it has, and is told as OpenAI tells it."""
    server.script(google.safety_mid_stream("It begins"))
    choice, usage = await answer_of(client())
    assert (choice["message"]["content"], choice["finish_reason"]) == ("It begins", "content_filter")
    assert usage["completion_tokens"] == 3


async def test_an_answer_that_gemini_breaks_off_is_a_cut_stream(
    client: Callable[..., Gemini], server: google.GeminiServer
) -> None:
    """A finish reason that is neither an end nor a filter does not pass for an end."""
    server.script(google.Script((google.event("It begins"), google.event(finish="OTHER"))))
    before, raised = await until_failure(client())
    assert len(before) == 2
    assert isinstance(raised, CutStream)


# --- errors of the service


@pytest.mark.parametrize(
    ("script", "wait_s", "daily"),
    [
        (google.quota_minute("34.07s"), 34.07, False),
        (google.quota_minute("7s"), 7, False),
        (google.quota_daily(), pytest.approx(35_199.1), True),  # from 14:13:20.9 in Pacific standard time
        (google.Script(status=429, body={"error": {"code": 429, "message": "Resource exhausted."}}), None, False),
        (google.Script(status=429, body=b"<html>slow down</html>"), None, False),
    ],
)
async def test_a_quota_says_how_long_and_whether_of_the_day(
    client: Callable[..., Gemini], server: google.GeminiServer, script: google.Script, wait_s: float | None, daily: bool
) -> None:
    """The wait is read from the body; a day's lasts to midnight there; nothing is tried again."""
    server.script(script)
    before, raised = await until_failure(client())
    assert before == []
    assert isinstance(raised, Quota)
    assert (raised.retry_after_s, raised.daily) == (wait_s, daily)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [500, 503])
async def test_a_broken_service_is_unavailable_at_once(
    client: Callable[..., Gemini], server: google.GeminiServer, status: int
) -> None:
    """The SDK's own retries are off: the chain decides."""
    server.script(google.broken(status))
    _, raised = await until_failure(client())
    assert isinstance(raised, Unavailable)
    assert raised.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body", [b"<html>proxy</html>", b"[]", [], "text", {"error": "text"}, {"error": {"details": 1}}]
)
async def test_an_error_of_any_shape_is_typed(
    client: Callable[..., Gemini], server: google.GeminiServer, body: Any
) -> None:
    """Proxies answer in their own way; that is still no bug of ours."""
    server.script(google.Script(status=502, body=body))
    _, raised = await until_failure(client())
    assert isinstance(raised, Unavailable)


async def test_nobody_there_is_unavailable(client: Callable[..., Gemini]) -> None:
    """A refused connection is told at once, and not tried again."""
    _, raised = await until_failure(client(base_url="http://127.0.0.1:9"))
    assert isinstance(raised, Unavailable)
    assert raised.status is None


async def test_a_connection_that_breaks_before_the_answer_is_unavailable(
    client: Callable[..., Gemini], server: google.GeminiServer
) -> None:
    """Nothing at all came back; the SDK does not wait and ask again."""
    server.script(google.Script((google.DROP,)))
    _, raised = await until_failure(client())
    assert isinstance(raised, Unavailable)
    assert len(server.requests) == 1


async def test_an_error_within_a_stream_keeps_its_type(
    client: Callable[..., Gemini], server: google.GeminiServer
) -> None:
    """After the first token, too, a quota is a quota."""
    server.script(google.Script((google.event("It begins"), google.quota_minute("5s").body)))
    before, raised = await until_failure(client())
    assert len(before) == 2
    assert isinstance(raised, Quota)
    assert raised.retry_after_s == 5


async def test_a_wrong_key_or_model_is_the_operators(client: Callable[..., Gemini]) -> None:
    """Neither is the client's mistake, nor a reason to try again."""
    for gemini in (client(api_key="AIza-wrong"), client("gemini-0.9-none")):
        _, raised = await until_failure(gemini)
        assert isinstance(raised, Refused)


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({"temperature": 3}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"max_tokens": 100_000}, "max_tokens"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "none"}}}, "tool_choice"),
    ],
)
async def test_what_google_refuses_names_the_clients_field(
    client: Callable[..., Gemini], request_fields: Json, field: str
) -> None:
    """Google's path of the violation is told in the client's words."""
    _, raised = await until_failure(client(), **request_fields)
    assert isinstance(raised, BadRequest)
    assert raised.field == field


# --- streams that break, and slow ones


@pytest.mark.parametrize(
    ("script", "chunks"),
    [
        (google.cut_stream("It", " begins"), 3),
        (google.cut_stream("It", " begins", cleanly=True), 3),
        (google.cut_stream(), 0),
        (google.malformed("It"), 2),
        (google.malformed("It", chunk=b"[]"), 2),
        (google.malformed("It", chunk=b"null"), 2),
        (google.malformed("It", chunk=b'{"candidates": 5}'), 2),
        (google.malformed("It", chunk=b'{"candidates": [{"content": {"parts": [{"text": {"no": 1}}]}}]}'), 2),
        (google.malformed("It", chunk=b"\xff\xfe"), 2),
        (google.malformed(), 0),
    ],
)
async def test_a_stream_that_breaks_does_not_pass_for_an_end(
    client: Callable[..., Gemini], server: google.GeminiServer, script: google.Script, chunks: int
) -> None:
    """Cut, ended without a finish reason, or unreadable: a typed failure after what had come."""
    server.script(script)
    before, raised = await until_failure(client())
    assert len(before) == chunks
    assert type(raised) is CutStream


LINE = b'data: {"candidates": [{"content": {"parts": [{"text": "'  # which does not end


@pytest.mark.parametrize(
    ("script", "chunks"),
    [
        (google.text_script(*["a word " * 100] * 200), 2),
        (google.Script((google.event("It"), *[b"x" * 1000] * 200)), 2),
        (google.Script((LINE, *[b"x" * 1000] * 200)), 0),
        (google.Script((google.event(thoughts=3),) * 1000), 0),
        (google.Script(status=500, body={"error": {"message": "x" * 200_000}}), 0),
        (google.Script(status=400, body=b"<html>" + b"x" * 200_000), 0),
    ],
    ids=["text", "a line after the beginning", "the first line", "no text", "an error", "a page"],
)
async def test_an_answer_has_a_size(
    client: Callable[..., Gemini], server: google.GeminiServer, script: google.Script, chunks: int
) -> None:
    """Of whatever its bytes are; the connection is closed, and the next answer is another."""
    server.script(script)
    gemini = client(max_answer_bytes=100_000)
    before, raised = await until_failure(gemini)
    assert len(before) >= chunks
    assert bool(before) == bool(chunks)
    assert type(raised) is TooLong
    choice, _ = await answer_of(gemini)
    assert choice["finish_reason"] == "stop"


async def test_a_connection_that_breaks_after_the_finish_reason_harms_nobody(
    client: Callable[..., Gemini], server: google.GeminiServer
) -> None:
    """The answer is whole."""
    server.script(google.Script((*google.text_script("All of it.").steps, google.CUT)))
    choice, _ = await answer_of(client())
    assert (choice["message"]["content"], choice["finish_reason"]) == ("All of it.", "stop")


@pytest.mark.parametrize("script", [google.slow_first_byte(), google.Script((google.event(thoughts=3), google.HOLD))])
async def test_a_slow_first_token_times_out(
    client: Callable[..., Gemini], server: google.GeminiServer, script: google.Script
) -> None:
    """No byte, or bytes without text: the client has nothing, and Gemini's connection is closed."""
    server.script(script)
    before, raised = await until_failure(client(ttft_timeout_s=0.3))
    assert before == []
    assert type(raised) is FirstTokenTimeout
    assert await asyncio.to_thread(server.left.wait, 30)


@pytest.mark.parametrize(
    ("timeouts", "failure"), [({"stall_timeout_s": 0.3}, StallTimeout), ({"total_timeout_s": 2}, TotalTimeout)]
)
async def test_a_stalled_answer_times_out(
    client: Callable[..., Gemini], server: google.GeminiServer, timeouts: Json, failure: type[ChatFailure]
) -> None:
    """Between pieces and over the whole, waiting has an end, and closes the connection."""
    server.script(google.stall("It begins"))
    before, raised = await until_failure(client(**timeouts))
    assert len(before) == 2
    assert type(raised) is failure
    assert await asyncio.to_thread(server.left.wait, 30)


async def test_closing_the_stream_closes_the_connection(
    client: Callable[..., Gemini], server: google.GeminiServer
) -> None:
    """A client that leaves between two chunks leaves nothing running."""
    server.script(google.stall("It begins"))
    stream = client().chunks({"messages": HELLO})
    await anext(stream)
    await stream.aclose()
    assert await asyncio.to_thread(server.left.wait, 30)


async def test_cancelling_the_reader_closes_the_connection(
    client: Callable[..., Gemini], server: google.GeminiServer
) -> None:
    """A client that leaves while Gemini thinks leaves nothing running."""
    server.script(google.stall("It begins"))
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in client().chunks({"messages": HELLO}):
            begun.set()

    reader = asyncio.create_task(read())
    await begun.wait()
    reader.cancel()
    assert await asyncio.to_thread(server.left.wait, 30)
    with pytest.raises(asyncio.CancelledError):
        await reader


# --- going on with another model's text


@pytest.mark.parametrize(
    ("sent", "pieces", "joined"),
    [
        ("The quick brown", ["The quick", " brown fox jumps."], "The quick brown fox jumps."),
        ("The quick brow", ["quick brown", " fox."], "The quick brown fox."),
        ("The quick brown ", ["brown fox."], "The quick brown fox."),
        ("One two three four five six seven", ["two three four five six seven, eight."], None),
        ("One two three four five six seven", ["One two", " three four five six seven, eight."], None),
        ("One two three four five six seven", ["  six seven", ", eight."], None),
        ("One two three four five six seven", [", eight."], None),
        ("The quick brown", ["fox jumps."], "The quick brown fox jumps."),
        ("The quick brown", [" fox jumps."], "The quick brown fox jumps."),
        ("Hi!\n", ["Hi!\n", "How are you?"], "Hi!\nHow are you?"),
        ("আমি ভালো", ["আমি ভালো", " আছি।"], "আমি ভালো আছি।"),
    ],
)
async def test_a_text_goes_on_without_a_seam(
    client: Callable[..., Gemini], server: google.GeminiServer, sent: str, pieces: list[str], joined: str | None
) -> None:
    """However much of the text Gemini repeats, the client gets only what follows, spaces and half words included."""
    server.script(google.text_script(*pieces))
    choice, _ = await answer_of(client(SIGNING), continue_from=sent, max_tokens=50)
    assert sent + choice["message"]["content"] == (joined or "One two three four five six seven, eight.")
    *_, own, instruction = server.requests[0].body["contents"]
    assert own == {"role": "model", "parts": [{"text": sent}]}
    assert instruction["role"] == "user"


async def test_a_text_that_was_whole_just_ends(client: Callable[..., Gemini], server: google.GeminiServer) -> None:
    """When Gemini has nothing to add, the stream still ends as a stream does."""
    server.script(google.text_script("That is all."))
    chunks = await chunks_of(client(), continue_from="I think so. That is all.")
    assert [chunk["choices"][0]["delta"] for chunk in chunks[:-1]] == [{"role": "assistant", "content": ""}, {}]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"


async def test_json_is_never_spliced(client: Callable[..., Gemini], server: google.GeminiServer) -> None:
    """Half a JSON text is not continued; nothing is asked of Google."""
    with pytest.raises(Unsupported) as raised:
        await chunks_of(client(), continue_from='{"a": ', response_format={"type": "json_object"})
    assert raised.value.field == "response_format"
    assert server.requests == []


# --- the key


async def test_the_key_is_in_no_error_and_no_log(
    server: google.GeminiServer, client: Callable[..., Gemini], caplog: pytest.LogCaptureFixture
) -> None:
    """Not even when a server repeats it, and not at the most talkative log level."""
    caplog.set_level(logging.DEBUG)
    gemini = client(api_key="AIza-wrong-but-secret")
    _, refused = await until_failure(gemini)
    assert "***" in str(refused)  # this server repeats it
    server.script(google.cut_stream("It begins"))
    _, cut = await until_failure(client())
    text = "".join(
        [repr(gemini), caplog.text, *traceback.format_exception(refused), *traceback.format_exception(cut), repr(cut)]
    )
    assert "AIza" not in text
    assert server.requests[0].key == "AIza-wrong-but-secret"


# --- the SDK


def test_the_sdk_is_loaded_only_when_a_client_is_made() -> None:
    """It costs seconds and tens of megabytes, which a gateway without a key does not pay."""
    check = "import sys, models.gemini.client; sys.exit('google.genai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
