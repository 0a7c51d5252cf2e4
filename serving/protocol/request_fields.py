"""The fields that a generation request may have, with types and bounds.

A request is validated against this list before it is recorded, counted or sent (`serving.protocol.check`), and the
OpenAPI document is generated from it (`serving.routes.openapi`). Names are OpenAI's
(https://platform.openai.com/docs/api-reference/chat/create) and vLLM's (https://docs.vllm.ai, OpenAI-compatible
server). vLLM's other fields are refused because they affect other requests (`priority`, `cache_salt`,
`kv_transfer_params`), fetch or run what a client wrote (`media_io_kwargs`, `chat_template`), or are not for text
(`prompt_embeds`); a model's file can allow more (`allow_fields`).

Validation stops at the first error of a list and counts an object's entries first, so that a large invalid body costs
no more than a valid one. This module does not know what a key's tier allows (`serving.protocol.sequences`), nor what is
in a schema or a grammar.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from models.openai_format import PARTS_OF_TEXT

MAX_INT64 = 2**63 - 1
MAX_TOKENS = 10_000_000  # more than any model's context length
MAX_TOKEN_ID = 2**31 - 1
MAX_NAME_CHARS = 256
MAX_FIELDS = 128  # of one object
MAX_PROMPTS = 2048
MAX_CHOICES = 1024

Count = Annotated[int, Field(ge=1, le=MAX_TOKENS)]
TokenId = Annotated[int, Field(ge=0, le=MAX_TOKEN_ID)]
Name = Annotated[str, Field(max_length=MAX_NAME_CHARS)]
Word = Annotated[str, Field(max_length=32)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Unit = Annotated[float, Field(ge=0, le=1)]
Stop = Annotated[str, Field(max_length=1024)]


def _object(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    return value


Object = Annotated[Any, PlainValidator(_object), WithJsonSchema({"type": "object"})]  # never copied
Scalar = bool | int | float | Annotated[str, Field(max_length=1024)] | None


def at_most(entries: int) -> BeforeValidator:
    """Refuse an object with more entries before they are validated."""

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > entries:
            raise ValueError(f"at most {entries} entries")
        return value

    return BeforeValidator(check)


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    at_most(16),
    Field(max_length=16),
]


class Fields(BaseModel):
    """Exactly these fields, with strict types: a quoted number is not a number. null means absent."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Options(Fields):
    """The same for an object inside a request, with a bound on its number of fields."""

    @model_validator(mode="before")
    @classmethod
    def _few(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > MAX_FIELDS:
            raise ValueError(f"at most {MAX_FIELDS} fields")
        return value


class Open(BaseModel):
    """These fields; any others are accepted and ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class StreamOptions(Options):
    """Options of a stream."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: bool | None = None


class Part(Open):
    """A part of a message; the model decides which types are accepted (`allow_content`)."""

    type: Word
    text: str | None = None


class CalledFunction(Open):
    """The function of a tool call."""

    name: Name
    arguments: str | Object | None = None


class ToolCall(Open):
    """A tool call by the assistant."""

    id: Name | None = None
    type: Literal["function"] | None = None
    function: CalledFunction


class Message(Open):
    """One message; other fields that clients send (such as `refusal: null`) are ignored."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[str | Part], Field(fail_fast=True)] | None = None
    name: Name | None = None
    tool_call_id: Name | None = None
    tool_calls: Annotated[list[ToolCall], Field(fail_fast=True, max_length=128)] | None = None


class Function(Open):
    """A function that the model may call."""

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None


class Tool(Open):
    """A tool."""

    type: Literal["function"] = "function"
    function: Function


class NamedFunction(Options):
    """A function by name."""

    name: Name


class NamedTool(Options):
    """The tool that the model must call."""

    type: Literal["function"] = "function"
    function: NamedFunction


class ResponseFormat(Open):
    """OpenAI's structured outputs."""

    type: Literal["text", "json_object", "json_schema", "structural_tag"]
    json_schema: Object | None = None
    schema_: Object | None = Field(
        default=None, alias="schema", description="of a json_object, which it makes a json_schema"
    )


class StructuredOutputs(Options):
    """vLLM's structured outputs; exactly one of the first six."""

    json_: str | Object | None = Field(default=None, alias="json")
    regex: str | None = None
    choice: Annotated[list[str], Field(fail_fast=True)] | None = None
    grammar: str | None = None
    json_object: bool | None = None
    structural_tag: str | None = None
    disable_any_whitespace: bool = False
    disable_additional_properties: bool = False
    whitespace_pattern: Annotated[str, Field(max_length=256)] | None = None


class RepetitionDetection(Options):
    """When vLLM ends a completion that repeats itself."""

    max_pattern_size: Annotated[int, Field(ge=0, le=64)] = 0
    min_pattern_size: Annotated[int, Field(ge=0, le=64)] = 0
    min_count: Annotated[int, Field(ge=0, le=1024)] = 0


class Generated(Fields):
    """The common fields of chats and completions."""

    model: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)] = Field(
        description="a model id of GET /v1/models"
    )
    user: Name | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = Field(
        default=None, description="choices for each prompt; the key's tier limits prompts x n (`max_sequences`)"
    )
    max_tokens: Count | None = None
    min_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(ge=0.0001, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=1_000_000)] | None = None
    min_p: Unit | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    length_penalty: Annotated[float, Field(ge=-10, le=10)] | None = None
    seed: Annotated[int, Field(ge=-MAX_INT64 - 1, le=MAX_INT64)] | None = None
    stop: Stop | Annotated[list[Stop], Field(fail_fast=True, max_length=4)] | None = None
    stop_token_ids: Annotated[list[TokenId], Field(fail_fast=True, max_length=256)] | None = None
    include_stop_str_in_output: bool | None = None
    ignore_eos: bool | None = None
    logit_bias: (
        Annotated[
            dict[
                Annotated[str, Field(pattern=r"^[0-9]{1,10}$")],
                Annotated[float, Field(ge=-100, le=100)],
            ],
            at_most(1024),
            Field(max_length=1024),
        ]
        | None
    ) = None
    allowed_token_ids: Annotated[list[TokenId], Field(fail_fast=True, max_length=4096)] | None = None
    bad_words: Annotated[list[Annotated[str, Field(max_length=256)]], Field(fail_fast=True, max_length=128)] | None = (
        None
    )
    use_beam_search: bool | None = Field(default=None, description="only if the key's tier allows it (`allow`)")
    prompt_logprobs: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None, description="only if the key's tier allows it (`allow`)"
    )
    logprob_token_ids: Annotated[list[TokenId], Field(fail_fast=True, max_length=128)] | None = None
    echo: bool | None = Field(
        default=None, description="together with logprobs only if the key's tier allows it (`allow`)"
    )
    add_special_tokens: bool | None = None
    skip_special_tokens: bool | None = None
    spaces_between_special_tokens: bool | None = None
    truncate_prompt_tokens: Annotated[int, Field(ge=-1, le=MAX_TOKENS)] | None = None
    truncation_side: Literal["left", "right"] | None = None
    thinking_token_budget: Annotated[int, Field(ge=-1, le=MAX_TOKENS)] | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    return_tokens_as_token_ids: bool | None = None
    return_token_ids: bool | None = None
    repetition_detection: RepetitionDetection | None = None
    metadata: Metadata | None = None
    store: bool | None = None
    service_tier: Word | None = None
    safety_identifier: Name | None = None
    prompt_cache_key: Name | None = None
    prompt_cache_retention: Word | None = None


class ChatRequest(Generated):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(fail_fast=True, min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Field(fail_fast=True, max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    functions: None = Field(default=None, description="not accepted: use tools")
    function_call: None = Field(default=None, description="not accepted: use tool_choice")
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    include_reasoning: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    documents: Annotated[list[Annotated[dict[Name, str], at_most(64)]], Field(fail_fast=True, max_length=64)] | None = (
        None
    )
    chat_template_kwargs: (
        Annotated[
            dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")], Scalar],
            at_most(16),
            Field(max_length=16),
        ]
        | None
    ) = None
    modalities: Annotated[list[Literal["text"]], Field(fail_fast=True, max_length=1)] | None = None
    verbosity: Word | None = None
    prediction: Object | None = None
    moderation: Object | None = None
    prompt_cache_options: Object | None = None
    web_search_options: Object | None = None


class CompletionRequest(Generated):
    """POST /v1/completions."""

    prompt: (
        str
        | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=MAX_PROMPTS)]
        | Annotated[list[TokenId], Field(fail_fast=True, min_length=1)]
        | Annotated[
            list[Annotated[list[TokenId], Field(fail_fast=True, min_length=1)]],
            Field(min_length=1, max_length=MAX_PROMPTS),
        ]
    )
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = Field(
        default=None, description="more than `n` only if the key's tier allows it (`allow`)"
    )
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    suffix: None = None


NOT_FOR_ENGINES = frozenset(
    {
        "store",
        "metadata",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "modalities",
        "verbosity",
        "prediction",
        "moderation",
        "web_search_options",
        "best_of",
    }
)
"""OpenAI's fields that vLLM does not know: accepted because OpenAI's clients send them, and not forwarded."""

TEXT_PARTS = frozenset({"text", *PARTS_OF_TEXT})
