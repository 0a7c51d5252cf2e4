"""Gemini as a `ProviderModel`: an OpenAI chat-completions request in, `chat.completion.chunk` objects out.

Only this module loads Google's `google-genai` SDK, and only when it creates a client, because that takes seconds and
tens of megabytes and most installations have no key. The SDK's retries and automatic function calling are off; the
caller handles failures. `models.gemini.request` translates requests, `models.gemini.response` answers, and
`models.gemini.errors` errors. It does not know other models, quotas or callers.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
from pydantic import ValidationError

from models.chat import BadRequest, ChatFailure, CutStream, Json, TimedOut, TooLong, Unavailable
from models.gemini.bounded import AnswerTooLong, bounded_response
from models.gemini.errors import FirstTokenTimeout, StallTimeout, TotalTimeout, failure_of
from models.gemini.request import translate
from models.gemini.response import Answer
from models.provider import ProviderModel

if TYPE_CHECKING:
    from google.genai.types import GenerateContentResponse

API_VERSION = "v1beta"  # the SDK's default, v1, knows neither thinking nor JSON schemas

# The upstream responses that the running `chunks` has opened. The SDK keeps them to itself, in a cycle of references.
_opened: ContextVar[list[aiohttp.ClientResponse]] = ContextVar("gemini_opened")


class Gemini(ProviderModel):
    """A client of the Gemini API; make it inside a running event loop and `close` it there.

    Args:
        model: Gemini's name of the model, e.g. "gemini-2.5-flash".
        api_key: never shown in an error, a repr or a log.
        base_url: another server that speaks the protocol; None: Google's.
        thinking_tokens: default budget for thoughts; the nearest that the model allows.
        ttft_timeout_s: from the request to the first text or tool call, thinking included.
        stall_timeout_s: between two pieces of an answer.
        total_timeout_s: for the whole answer.
        max_answer_bytes: maximum size of an answer or error in Gemini's format.
        now: seconds since the epoch.
        new_id: makes a new identifier; letters and digits.

    """

    provider = "gcp.gemini"

    def __init__(
        self,
        *,
        model: str,
        api_key: str,
        base_url: str | None = None,
        thinking_tokens: int,
        ttft_timeout_s: float,
        stall_timeout_s: float,
        total_timeout_s: float,
        max_answer_bytes: int,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        from google import genai
        from google.genai import errors, types

        self.model = model
        self._key = api_key
        self._thinking_tokens = thinking_tokens
        self._ttft_timeout_s = ttft_timeout_s
        self._stall_timeout_s = stall_timeout_s
        self._total_timeout_s = total_timeout_s
        self._now = now
        self._new_id = new_id
        for used in (types.GenerateContentConfig, types.GenerateContentResponse):
            used.model_rebuild()  # else the first request is held up by it, for a good tenth of a second
        self._types = types
        self._api_error = errors.APIError
        tracing = aiohttp.TraceConfig()
        tracing.on_request_end.append(_note)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            trace_configs=[tracing],
            trust_env=True,
            response_class=bounded_response(max_answer_bytes),
        )
        self._client = genai.Client(
            api_key=api_key,
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=base_url or "https://generativelanguage.googleapis.com",
                api_version=API_VERSION,
                aiohttp_client=self._session,
                retry_options=types.HttpRetryOptions(attempts=1),  # without it, the SDK retries lost connections
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aio.aclose()
        await self._session.close()

    async def chunks(self, request: Mapping[str, Any], *, continue_from: str = "") -> AsyncGenerator[Json, None]:
        """Answer a chat-completions request, always as a stream.

        Yields the role, then texts and tool calls, then a chunk with the finish reason, then one with the usage and
        no choices. Nothing is yielded before the first text or tool call. Closing the generator, or cancelling the
        task that waits for it, closes the connection to Gemini at once.

        Args:
            request: with OpenAI's field names; `model`, `stream` and `stream_options` are ignored.
            continue_from: the beginning of the answer, which the client already has from another model. The chunks
                contain only the continuation, and `max_tokens` counts only the continuation.

        Raises:
            ChatFailure: one of `models.gemini.errors`. After the first chunk only CutStream, TooLong, Unavailable,
                Quota, StallTimeout and TotalTimeout.

        """
        translated = translate(
            request, model=self.model, thinking_tokens=self._thinking_tokens, continue_from=continue_from
        )
        answer = Answer(
            head={
                "id": f"chatcmpl-{self._new_id()}",
                "object": "chat.completion.chunk",
                "created": int(self._now()),
                "model": self.model,
            },
            new_call_id=lambda: f"call_{self._new_id()}",
            visible_tokens=translated.visible_tokens,
            single_tool_call=translated.single_tool_call,
            continues=continue_from,
        )
        began_s = asyncio.get_running_loop().time()
        opened: list[aiohttp.ClientResponse] = []
        try:
            responses = await self._ask(translated.contents, translated.config)
            while not answer.cut:
                _opened.set(opened)  # again: between two chunks the caller's context may have changed
                response = await self._next(responses, answer, began_s, opened)
                if response is None:
                    break
                for chunk in answer.take(response):
                    yield chunk
            for chunk in answer.end():
                yield chunk
        finally:
            for upstream in opened:
                upstream.close()

    async def _ask(self, contents: list[Json], config: Json) -> "AsyncIterator[GenerateContentResponse]":
        """The stream of responses; the request goes out when the first is awaited."""
        try:
            typed = self._types.GenerateContentConfig(
                **config,
                automatic_function_calling=self._types.AutomaticFunctionCallingConfig(disable=True),
                automatic_continuation=False,
            )
        except ValidationError as problem:
            first = problem.errors(include_url=False, include_input=False)[0]
            field = str(first["loc"][0])
            raise BadRequest(f"{field}: {first['msg']}.", field=field) from None
        return await self._client.aio.models.generate_content_stream(
            model=self.model,
            contents=contents,  # type: ignore[arg-type]  # dictionaries of its own TypedDicts' shape
            config=typed,
        )

    async def _next(
        self,
        responses: "AsyncIterator[GenerateContentResponse]",
        answer: Answer,
        began_s: float,
        opened: list[aiohttp.ClientResponse],
    ) -> "GenerateContentResponse | None":
        """The next response, or None at the end; failures become a ChatFailure."""
        deadline_s, timed_out = self._deadline(answer, began_s)
        failure: ChatFailure
        try:
            async with asyncio.timeout_at(deadline_s):
                return await anext(responses, None)
        except TimeoutError:
            failure = timed_out
        except AnswerTooLong:
            failure = TooLong("Gemini's answer is longer than what is taken of one.")
        except self._api_error as problem:
            failure = failure_of(problem.code or 500, problem.details, now_s=self._now())
        except (aiohttp.ClientError, OSError, ValueError, AttributeError, TypeError) as problem:
            # The last two: what the SDK's parser raises on JSON of an unexpected shape.
            what = type(problem).__name__
            failure = CutStream(f"Gemini's stream broke ({what}).") if opened else Unavailable(f"No answer ({what}).")
        if answer.complete:
            return None  # all that is missing is the end of the stream
        failure.args = tuple(str(argument).replace(self._key, "***") for argument in failure.args)
        raise failure from None  # the SDK's own errors hold the request

    def _deadline(self, answer: Answer, began_s: float) -> tuple[float, TimedOut]:
        """The deadline of the next response in the loop's time, and the failure if it passes."""
        end_s = began_s + self._total_timeout_s
        if answer.started:
            next_s = asyncio.get_running_loop().time() + self._stall_timeout_s
            timed_out: TimedOut = StallTimeout(f"Gemini sent nothing for {self._stall_timeout_s:g} s.")
        else:
            next_s = began_s + self._ttft_timeout_s
            timed_out = FirstTokenTimeout(f"Gemini did not begin within {self._ttft_timeout_s:g} s.")
        if end_s < next_s:
            return end_s, TotalTimeout(f"Gemini did not finish within {self._total_timeout_s:g} s.")
        return next_s, timed_out


async def _note(_: aiohttp.ClientSession, __: SimpleNamespace, ended: aiohttp.TraceRequestEndParams) -> None:
    """Called by aiohttp, in the requesting task, when the headers of a response have arrived."""
    _opened.get().append(ended.response)
