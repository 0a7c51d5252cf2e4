"""The interface of a provider of external models: a `ChatModel` that also answers a client's unchanged request.

A provider is a folder with a `ProviderModel` and a `Provider`, and a line in `models.providers`. Callers know no
provider: requests and chunks are OpenAI's (https://platform.openai.com/docs/api-reference/chat), failures those of
`models.chat`. This module knows neither consent, quotas nor callers.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar

from models.chat import ChatReply, ChatRequest, Json, TextDelta
from models.openai_format import StreamedReply, body_of


class ProviderModel(ABC):
    """A `ChatModel` of a provider.

    Attributes:
        provider: its name in traces (`gen_ai.provider.name` of OpenTelemetry).
        model: the provider's name of the model.

    """

    provider: ClassVar[str]
    model: str

    @abstractmethod
    def chunks(self, request: Mapping[str, Any], *, continue_from: str = "") -> AsyncGenerator[Json, None]:
        """Answer a chat-completions request, always as a stream of `chat.completion.chunk` objects.

        A chunk's `usage`, if present, counts the answer so far; the last chunk has the total and no choices. Nothing
        is yielded before the first text or tool call, so until then another model can take over unnoticed. Closing
        the generator stops the model.

        Args:
            request: with OpenAI's field names; `model`, `stream` and `stream_options` are ignored.
            continue_from: the beginning of the answer, which the client already has from another model. The chunks
                contain only the continuation, and `max_tokens` counts only the continuation.

        Raises:
            ChatFailure: BadRequest for anything unsupported, including `continue_from`.

        """

    @abstractmethod
    async def close(self) -> None:
        """Close its connections."""

    async def complete(self, request: ChatRequest) -> ChatReply:
        """The complete answer; raises ChatFailure. Cancelling it stops the model."""
        async with aclosing(self.stream(request)) as items:
            async for item in items:
                if isinstance(item, ChatReply):
                    return item
        raise AssertionError("a stream ends with its reply")

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | ChatReply, None]:
        """The answer's text as a stream, then the complete answer; raises ChatFailure."""
        streamed = StreamedReply(request, self.model, choices_as="json_schema")
        body = body_of(request, self.model, choices_as="json_schema")
        async with aclosing(self.chunks(body)) as chunks:
            async for chunk in chunks:
                if text := streamed.feed(chunk):
                    yield TextDelta(text)
        reply = streamed.whole()
        if streamed.hides_text:
            yield TextDelta(reply.text)
        yield reply


@dataclass(frozen=True, slots=True)
class ProviderOptions:
    """The options from which a provider's model is made.

    Attributes:
        model: the provider's name of the model.
        api_key: never shown in an error, a repr or a log.
        base_url: another server that speaks the protocol; None: the provider's own.
        thinking_tokens: default budget for thoughts.
        ttft_timeout_s: to the first text or tool call.
        stall_timeout_s: between two pieces of an answer.
        total_timeout_s: for a whole answer.
        max_answer_bytes: maximum size of an answer or error in the provider's format; beyond it: TooLong.
        now: seconds since the epoch.
        new_id: makes a new identifier; letters and digits.

    """

    model: str
    api_key: str
    base_url: str | None
    thinking_tokens: int
    ttft_timeout_s: float
    stall_timeout_s: float
    total_timeout_s: float
    max_answer_bytes: int
    now: Callable[[], float]
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider.

    Attributes:
        name: the value of `external.<id>.provider` in the configuration.
        key_variable: the environment variable with its key; without a key, its models are off.
        open: creates a model, in a running event loop; heavy imports belong here.

    """

    name: str
    key_variable: str
    open: Callable[[ProviderOptions], ProviderModel]
