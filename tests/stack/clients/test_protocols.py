"""OpenAI's Responses and Anthropic's Messages on real engines, by the official clients with their defaults."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.support.services import Service, of_each_engine
from tests.support.whole_stack import CLIENT_TIMEOUT_S, FRESH

pytestmark = of_each_engine

MODEL = "bondhu-demo"
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"]}


@pytest.fixture
def anthropics(engine_service: Service) -> Iterator[anthropic.Anthropic]:
    """Anthropic's client."""
    with anthropic.Anthropic(
        base_url=engine_service.url,
        api_key=engine_service.api_key,
        max_retries=0,
        timeout=CLIENT_TIMEOUT_S,
        default_headers=FRESH,
    ) as client:
        yield client


def test_a_stream_says_what_a_whole_response_says(client: OpenAI) -> None:
    """With usage, greedy."""
    body: dict[str, Any] = {"model": MODEL, "input": "Hello", "temperature": 0, "max_output_tokens": 24}
    whole = client.responses.create(**body)
    events = list(client.responses.create(**body, stream=True))
    last: Any = events[-1]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text == last.response.output_text
    assert text
    assert whole.usage is not None
    assert last.response.usage.output_tokens == whole.usage.output_tokens > 0
    assert whole.usage.input_tokens > 0


def test_a_response_is_parsed_and_calls_functions(client: OpenAI) -> None:
    """A format by a type, and a function that must be called."""

    class Age(BaseModel):
        years: int

    parsed = client.responses.parse(model=MODEL, input="How old is a cat?", text_format=Age, temperature=0)
    assert isinstance(parsed.output_parsed, Age)
    tools: Any = [{"type": "function", "name": "weather", "parameters": CITY, "strict": False}]
    called: Any = client.responses.create(
        model=MODEL, input="The weather in Oslo?", tools=tools, tool_choice="required", max_output_tokens=200
    ).output[-1]
    assert (called.type, called.name, called.status) == ("function_call", "weather", "completed")


def test_a_stream_says_what_a_whole_message_says(anthropics: anthropic.Anthropic) -> None:
    """With usage, greedy; the prompt's tokens are known at the beginning."""
    body: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 24,
        "messages": [{"role": "user", "content": "Hello"}],
        "extra_body": {"temperature": 0},
    }
    whole: Any = anthropics.messages.create(**body)
    events: list[Any] = list(anthropics.messages.create(**body, stream=True))
    text = "".join(event.delta.text for event in events if event.type == "content_block_delta")
    assert text == whole.content[0].text
    assert text
    ended = events[-2].usage
    total = whole.usage.input_tokens + whole.usage.cache_read_input_tokens
    assert ended.input_tokens + ended.cache_read_input_tokens == total > 0
    assert events[-2].usage.output_tokens == whole.usage.output_tokens > 0


def test_a_message_uses_a_tool(anthropics: anthropic.Anthropic) -> None:
    """A tool that must be used."""
    tools: Any = [{"name": "weather", "input_schema": CITY}]
    message = anthropics.messages.create(
        model=MODEL,
        max_tokens=200,
        messages=[{"role": "user", "content": "The weather in Oslo?"}],
        tools=tools,
        tool_choice={"type": "any"},
    )
    used: Any = message.content[-1]
    assert (message.stop_reason, used.type, used.name, list(used.input)) == (
        "tool_use",
        "tool_use",
        "weather",
        ["city"],
    )


def test_a_beginning_is_continued(anthropics: anthropic.Anthropic) -> None:
    """The answer is only what follows."""
    messages: Any = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello, my"}]
    message: Any = anthropics.messages.create(model=MODEL, max_tokens=8, messages=messages)
    assert message.content[0].text
    assert not message.content[0].text.startswith("Hello, my")
