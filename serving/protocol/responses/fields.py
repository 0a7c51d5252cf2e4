"""The fields of POST /v1/responses: https://platform.openai.com/docs/api-reference/responses/create.

Input items and tools are checked where they are translated (`items`, `to_chat`), because their errors name what is
accepted instead. Fields that are accepted without effect: what clients send by default (`store`, `include`,
`client_metadata`), and what only matters on OpenAI's servers (`service_tier`, the prompt cache).
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from serving.protocol.request_fields import (
    MAX_FIELDS,
    MAX_INT64,
    MAX_NAME_CHARS,
    Count,
    Fields,
    Metadata,
    Name,
    Object,
    Open,
    Options,
    Penalty,
    Stop,
    StructuredOutputs,
    Unit,
    Word,
    at_most,
)

MAX_ITEMS = 16_384


class Reasoning(Open):
    """How much a reasoning model thinks."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Word | None = None


class Format(Options):
    """The format of the text."""

    type: Literal["text", "json_object", "json_schema"]
    name: Name | None = None
    description: str | None = None
    schema_: Object | None = Field(default=None, alias="schema")
    strict: bool | None = None


class Text(Options):
    """Options of the text."""

    format: Format | None = None
    verbosity: Word | None = None


class StreamOptions(Options):
    """Options of a stream."""

    include_obfuscation: bool | None = None


class ResponsesRequest(Fields):
    """POST /v1/responses."""

    model: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)] = Field(
        description="a model id of GET /v1/models"
    )
    input: str | Annotated[list[Object], Field(fail_fast=True, min_length=1, max_length=MAX_ITEMS)] = Field(
        description="a text, or items: message, function_call, function_call_output, reasoning (which is skipped)"
    )
    instructions: str | None = Field(default=None, description="a system message before the input")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_output_tokens: Count | None = None
    max_tool_calls: Count | None = Field(default=None, description="without effect: there are no built-in tools")
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(ge=0.0001, le=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Object], Field(fail_fast=True, max_length=128)] | None = Field(
        default=None, description="of type function"
    )
    tool_choice: Literal["none", "auto", "required"] | Object | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    include: Annotated[list[Name], Field(fail_fast=True, max_length=32)] | None = Field(
        default=None, description="message.output_text.logprobs; others have no effect"
    )
    truncation: Literal["disabled"] | None = None
    store: bool | None = Field(default=None, description="without effect: responses are not stored")
    background: Literal[False] | None = None
    previous_response_id: None = Field(default=None, description="responses are not stored: send the whole input")
    conversation: None = Field(default=None, description="not available: send the whole input")
    prompt: None = Field(default=None, description="not available: send instructions")
    user: Name | None = None
    metadata: Metadata | None = None
    service_tier: Word | None = None
    safety_identifier: Name | None = None
    prompt_cache_key: Name | None = None
    prompt_cache_retention: Word | None = None
    prompt_cache_options: Object | None = None
    client_metadata: Object | None = Field(default=None, description="without effect")
    moderation: Object | None = None
    # vLLM's additions
    top_k: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    min_p: Unit | None = None
    seed: Annotated[int, Field(ge=-MAX_INT64 - 1, le=MAX_INT64)] | None = None
    stop: Stop | Annotated[list[Stop], Field(fail_fast=True, max_length=4)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    structured_outputs: StructuredOutputs | None = None
    chat_template_kwargs: Annotated[dict[str, Any], at_most(16), Field(max_length=16)] | None = None
    bondhu: Annotated[dict[str, Any], at_most(MAX_FIELDS)] | None = Field(
        default=None, description="an agent's own fields (docs/agents.md)"
    )


SAME = (  # as in a chat
    *("model", "stream", "temperature", "top_p", "parallel_tool_calls", "user", "metadata", "service_tier", "store"),
    *("safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "moderation"),
    *("top_k", "min_p", "seed", "stop", "frequency_penalty", "presence_penalty", "repetition_penalty"),
    *("structured_outputs", "chat_template_kwargs", "bondhu"),
)
NOT_HERE = {  # what needs a store of responses, and what to do instead
    "previous_response_id": "responses are not stored; send the whole conversation as `input`",
    "conversation": "conversations of this protocol are not stored; send the whole conversation as `input`",
    "prompt": "prompt templates are not stored; send `instructions` and `input`",
    "background": "responses are not stored, so none can be fetched later; stream instead, or see docs/jobs.md",
}
