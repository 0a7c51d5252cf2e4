"""The interface of a chat model: requests, replies and failures, independent of any provider.

`models.provider` implements it for a provider's models, `serving.generation.chain_model` by other models of the
gateway. It does not know prompts, people or quotas. The failures, by what the caller should do next:

    ChatFailure
    ├── BadRequest(field)          it refuses this request; another model may accept it
    ├── Refused                    wrong key or model name, which the operator must correct
    ├── RateLimited(retry_after_s) too many requests or tokens
    ├── Unavailable(status)        unreachable, failing or overloaded
    ├── Blocked                    a filter blocked the prompt or the answer
    ├── TooLong                    the answer exceeds the maximum size
    ├── CutStream                  the answer was cut off, or is not readable
    └── TimedOut                   it took too long
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
Json = dict[str, Any]


class ChatFailure(Exception):
    """The model gave no answer; the message says why and contains neither keys nor text of the request."""


class BadRequest(ChatFailure):
    """The model cannot answer this request; `field` names the faulty part, if known."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Refused(ChatFailure):
    """The model refuses the caller: wrong key, missing permission, or unknown model name."""


class RateLimited(ChatFailure):
    """Too many requests; `retry_after_s` is how long to wait, None if unknown."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(ChatFailure):
    """The model is unreachable (`status` None), or reports an error or overload (5xx)."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Blocked(ChatFailure):
    """A filter blocked the prompt or the answer."""


class TooLong(ChatFailure):
    """The answer exceeds the maximum size in bytes."""


class CutStream(ChatFailure):
    """The answer was cut off, or is not readable."""


class TimedOut(ChatFailure):
    """The first token, the next one, or the whole answer took too long."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function call by the model; `arguments` is its JSON as the model wrote it, possibly empty."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A function that the model may call; `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message. `content` is text, or parts in OpenAI's format; a tool's answer names its call."""

    role: Role
    content: str | Sequence[Mapping[str, Any]] = ""
    tool_calls: Sequence[ToolCall] = ()
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """Its text, without images and audio."""
        if isinstance(self.content, str):
            return self.content
        texts = (part.get("text") for part in self.content)
        return "\n".join(text for text in texts if isinstance(text, str))


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request to a model.

    Attributes:
        messages: the conversation.
        max_tokens: of the answer; always set, so that every generation ends.
        temperature: 0 is greedy.
        tools: the functions that it may call.
        tool_choice: `auto`, `none`, `required`.
        choices: the answer is exactly one of these texts, by a grammar; not together with `response_format`.
        response_format: in OpenAI's format, e.g. a JSON schema.
        seed: of sampling.
        extra: further fields of OpenAI's protocol, passed on as they are.

    """

    messages: Sequence[ChatMessage]
    max_tokens: int
    temperature: float = 0.7
    tools: Sequence[ToolSpec] = ()
    tool_choice: Literal["auto", "none", "required"] = "auto"
    choices: Sequence[str] = ()
    response_format: Mapping[str, Any] | None = None
    seed: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """The model's token counts; 0 if it did not report them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        """Both together."""
        return TokenUsage(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of an answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ChatReply:
    """A complete answer; `model` is the id of the model that gave it, possibly chosen by a gateway."""

    text: str
    tool_calls: Sequence[ToolCall]
    usage: TokenUsage
    finish_reason: FinishReason
    model: str


class ChatModel(Protocol):
    """A chat model."""

    @property
    def model(self) -> str:
        """Its id."""

    async def complete(self, request: ChatRequest) -> ChatReply:
        """The complete answer; raises ChatFailure. Cancelling it stops the model."""

    def stream(self, request: ChatRequest) -> AsyncIterator[TextDelta | ChatReply]:
        """The answer's text as a stream, then the complete answer; raises ChatFailure.

        The last item is the one ChatReply. Closing the iterator stops the model.
        """
