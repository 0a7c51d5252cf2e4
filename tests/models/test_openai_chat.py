"""The client of OpenAI's chat completions, against a real server that says what a test wants."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from models.chat import (
    BadRequest,
    ChatFailure,
    ChatMessage,
    ChatReply,
    ChatRequest,
    CutStream,
    RateLimited,
    Refused,
    TextDelta,
    TimedOut,
    TokenUsage,
    ToolSpec,
    Unavailable,
)
from tests.support.gateway_process import free_port
from tests.support.models.openai_chat import OpenAIChat
from tests.support.servers.script import CUT, JUNK, SILENT, ScriptServer, call

REQUEST = ChatRequest([ChatMessage("user", "hello")], max_tokens=20)


@pytest.fixture
def server() -> Iterator[ScriptServer]:
    """Return a scripted model."""
    with ScriptServer(free_port()) as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Return connections."""
    async with aiohttp.ClientSession() as session:
        yield session


def client(session: aiohttp.ClientSession, server: ScriptServer, **options: Any) -> OpenAIChat:
    """The client of that server."""
    return OpenAIChat(session, base_url=server.base_url, model="bondhu", api_key="a-key", **options)


async def streamed(model: OpenAIChat, request: ChatRequest = REQUEST) -> list[TextDelta | ChatReply]:
    """All that a stream has."""
    return [each async for each in model.stream(request)]


async def test_a_whole_answer(server: ScriptServer, session: aiohttp.ClientSession) -> None:
    """Text, usage, the model that answered; the request carries key, fields and headers."""
    server.answers = ["Hello there"]
    model = client(session, server, fields={"user": "mina"}, headers={"x-bondhu-class": "agent"})
    reply = await model.complete(REQUEST)
    assert (reply.text, reply.usage, reply.finish_reason) == ("Hello there", TokenUsage(7, 5), "stop")
    assert reply.model == "bondhu-demo"
    assert server.requests[0] == {
        "model": "bondhu",
        "user": "mina",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 20,
        "temperature": 0.7,
    }
    assert server.headers[0]["Authorization"] == "Bearer a-key"
    assert server.headers[0]["x-bondhu-class"] == "agent"


async def test_a_stream_ends_with_all_of_it(server: ScriptServer, session: aiohttp.ClientSession) -> None:
    """Pieces, then one whole reply."""
    server.answers = ["one two three"]
    *pieces, whole = await streamed(client(session, server))
    assert pieces == [TextDelta("one"), TextDelta(" two"), TextDelta(" three")]
    assert isinstance(whole, ChatReply)
    assert (whole.text, whole.usage) == ("one two three", TokenUsage(7, 5))


@pytest.mark.parametrize("has_index", [True, False])
async def test_a_call_in_pieces(server: ScriptServer, session: aiohttp.ClientSession, *, has_index: bool) -> None:
    """Two calls come back whole, also from a server that does not number the pieces."""
    server.has_index = has_index
    server.answers = [call("find", title="x") + call("play", loud=True)]
    *_, whole = await streamed(client(session, server))
    assert isinstance(whole, ChatReply)
    assert [(each.name, each.arguments) for each in whole.tool_calls] == [
        ("find", '{"title": "x"}'),
        ("play", '{"loud": true}'),
    ]
    assert whole.finish_reason == "tool_calls"


async def test_tools_are_written_as_openai_has_them(server: ScriptServer, session: aiohttp.ClientSession) -> None:
    """A tool is a function with a schema."""
    tool = ToolSpec("find", "Finds.", {"type": "object", "properties": {}})
    await client(session, server).complete(ChatRequest(REQUEST.messages, max_tokens=5, tools=[tool]))
    assert server.requests[0]["tools"] == [
        {"type": "function", "function": {"name": "find", "description": "Finds.", "parameters": tool.parameters}}
    ]
    assert server.requests[0]["tool_choice"] == "auto"


async def test_choices_are_a_grammar(server: ScriptServer, session: aiohttp.ClientSession) -> None:
    """For vLLM a list; for others a JSON schema whose answer is read back."""
    server.answers = ["red", '{"choice": "blue"}', '{"choice": "blue"}']
    request = ChatRequest(REQUEST.messages, max_tokens=5, choices=["red", "blue"])
    assert (await client(session, server).complete(request)).text == "red"
    assert server.requests[0]["structured_outputs"] == {"choice": ["red", "blue"]}
    other = client(session, server, choices_as="json_schema")
    assert (await other.complete(request)).text == "blue"
    schema = server.requests[1]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["choice"]["enum"] == ["red", "blue"]
    *pieces, whole = await streamed(other, request)
    assert pieces == [TextDelta("blue")]
    assert isinstance(whole, ChatReply)
    assert whole.text == "blue"


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (400, BadRequest),
        (401, Refused),
        (404, Refused),
        (408, TimedOut),
        (429, RateLimited),
        (500, Unavailable),
        (503, Unavailable),
        (CUT, CutStream),
        (JUNK, CutStream),
    ],
)
@pytest.mark.parametrize("streams", [True, False])
async def test_failures_are_typed_and_quote_nothing(
    server: ScriptServer, session: aiohttp.ClientSession, reply: Any, failure: type[ChatFailure], *, streams: bool
) -> None:
    """What the server says in words may quote the request, and is not told on."""
    server.answers = [reply]
    model = client(session, server)
    with pytest.raises(failure) as raised:
        await (streamed(model) if streams else model.complete(REQUEST))
    assert "secret" not in str(raised.value)
    assert "a-key" not in str(raised.value)


async def test_a_rate_limit_tells_how_long(server: ScriptServer, session: aiohttp.ClientSession) -> None:
    """Retry-After in seconds; a date or nothing is None."""
    for header, expected in (("3", 3.0), ("Fri, 27 Nov 2026 15:00:00 GMT", None), (None, None)):
        server.answers, server.retry_after = [429], header
        with pytest.raises(RateLimited) as raised:
            await client(session, server).complete(REQUEST)
        assert raised.value.retry_after_s == expected


async def test_a_bad_request_names_the_field(server: ScriptServer, session: aiohttp.ClientSession) -> None:
    """The caller learns what to leave out."""
    server.answers = [400]
    with pytest.raises(BadRequest) as raised:
        await client(session, server).complete(REQUEST)
    assert raised.value.field == "tools"


async def test_silence_ends(server: ScriptServer, session: aiohttp.ClientSession) -> None:
    """A server that says nothing is given up."""
    server.answers = [SILENT]
    with pytest.raises(TimedOut):
        await client(session, server, timeout_s=0.2).complete(REQUEST)


async def test_nobody_there(session: aiohttp.ClientSession) -> None:
    """A refused connection is a model that is away."""
    model = OpenAIChat(session, base_url=f"http://127.0.0.1:{free_port()}/v1", model="m")
    with pytest.raises(Unavailable):
        await model.complete(REQUEST)


async def test_closing_a_stream_stops_the_model(server: ScriptServer, session: aiohttp.ClientSession) -> None:
    """The connection is closed, and later requests have a fresh one."""
    server.answers = ["one two three", "four"]
    answer = client(session, server).stream(REQUEST)
    assert await anext(answer) == TextDelta("one")
    await answer.aclose()
    assert (await client(session, server).complete(REQUEST)).text == "four"
