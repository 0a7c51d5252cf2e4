"""The interface of a provider of external models: a `ChatModel` that also answers a client's request as it came.

A provider is a folder with one of these and a `Provider`, and a line in `models.providers`. Callers know no provider:
requests and chunks are OpenAI's (https://platform.openai.com/docs/api-reference/chat), failures are those of
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
        provider: who runs it, as traces name it (`gen_ai.provider.name` of OpenTelemetry).
        model: the provider's name of it.

    """

    provider: ClassVar[str]
    model: str

    @abstractmethod
    def chunks(self, request: Mapping[str, Any], *, continue_from: str = "") -> AsyncGenerator[Json, None]:
        """Answer a chat-completions request, always as a stream of `chat.completion.chunk` objects.

        `usage`, where a chunk has it, counts the answer so far; the last chunk has no choices and all of it. Nothing
        comes before the first text or tool call, so that until then another model can take over unseen. Closing the
        generator stops the model.

        Args:
            request: OpenAI's field names. `model`, `stream` and `stream_options` are not looked at.
            continue_from: the beginning of the answer, which the client already has from another model; the chunks
                then hold only what follows it. `max_tokens` counts what follows.

        Raises:
            ChatFailure: BadRequest for what it cannot do, a `continue_from` included.

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
        """The answer's text as it comes, and at the end all of it; raises ChatFailure."""
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
        model: the provider's name of it.
        api_key: never shown in an error, a repr or a log.
        base_url: another server that speaks the protocol; None: the provider's own.
        thinking_tokens: what it may spend on thoughts where a request does not say.
        ttft_timeout_s: to the first text or tool call.
        stall_timeout_s: between two pieces of an answer.
        total_timeout_s: for a whole answer.
        max_answer_bytes: of an answer, or an error, as the provider writes it; a longer one is TooLong.
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
        name: in `external.<id>.provider` of the configuration.
        key_variable: the environment variable that holds its key; without it the provider's models are off.
        open: makes a model, in a running event loop; it imports what is heavy.

    """

    name: str
    key_variable: str
    open: Callable[[ProviderOptions], ProviderModel]
