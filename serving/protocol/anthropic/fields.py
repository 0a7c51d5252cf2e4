"""The fields of POST /v1/messages: https://docs.anthropic.com/en/api/messages.

Messages and tools are checked where they are translated (`blocks`, `to_chat`), because their errors name what is
accepted instead. `cache_control`, `context_management` and `service_tier` are accepted without effect: prompts are
cached anyway, and nothing of a conversation is kept between two requests.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from serving.protocol.request_fields import MAX_FIELDS, MAX_NAME_CHARS, Count, Fields, Name, Object, Open, Unit, at_most

MAX_MESSAGES = 16_384
MAX_STOPS = 4  # as in a chat


class Metadata(Open):
    """Who asks; `user_id` is a chat's `user`."""

    user_id: Name | None = None


class Thinking(Open):
    """Whether the message has the model's thinking; `budget_tokens` limits it if the model can."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Count | None = None


class Format(Open):
    """The format of the text."""

    type: Literal["json_schema"]
    schema_: Object = Field(alias="schema")


class OutputConfig(Open):
    """Options of the output."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: Format | None = None


class ToolChoice(Open):
    """How tools are used."""

    type: Literal["auto", "any", "tool", "none"]
    name: Name | None = None
    disable_parallel_tool_use: bool | None = None


class Counted(Fields):
    """The fields that make the prompt: POST /v1/messages/count_tokens has no others."""

    model: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)] = Field(
        description="a model id of GET /v1/models"
    )
    messages: Annotated[list[Object], Field(fail_fast=True, min_length=1, max_length=MAX_MESSAGES)] = Field(
        description="of user and assistant; a last one of the assistant's is continued"
    )
    system: str | Annotated[list[Object], Field(fail_fast=True, max_length=1024)] | None = None
    tools: Annotated[list[Object], Field(fail_fast=True, max_length=128)] | None = Field(
        default=None, description="with name, description and input_schema"
    )
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: Object | None = None
    context_management: Object | None = None
    mcp_servers: Annotated[list[Object], Field(max_length=0)] | None = None


class MessagesRequest(Counted):
    """POST /v1/messages."""

    max_tokens: Count
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    stop_sequences: (
        Annotated[list[Annotated[str, Field(max_length=1024)]], Field(fail_fast=True, max_length=MAX_STOPS)] | None
    ) = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    top_p: Unit | None = None
    bondhu: Annotated[dict[str, Any], at_most(MAX_FIELDS)] | None = Field(
        default=None, description="an agent's own fields (docs/agents.md)"
    )
