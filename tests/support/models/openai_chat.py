"""A chat model over HTTP that speaks OpenAI's chat completions: an engine, this project's own gateway, or another.

`models.openai_format` writes and reads the bodies. It never retries: the caller decides. It does not know prompts or
callers.
"""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

import aiohttp

from models.chat import ChatReply, ChatRequest, CutStream, Json, TextDelta, TimedOut, Unavailable
from models.openai_format import ChoicesAs, StreamedReply, body_of, failure_of, reply_of

MAX_LINE_BYTES = 1 << 20


class OpenAIChat:
    """A `ChatModel` at `base_url`, to which `/chat/completions` is appended.

    Args:
        session: the HTTP client; its creator closes it.
        base_url: e.g. `http://127.0.0.1:8000/v1`.
        model: its id at the server.
        api_key: never shown in an error or a repr; empty: no key is sent.
        headers: added to every request.
        fields: added to every request's body, e.g. `user`.
        timeout_s: for a whole answer.
        stall_timeout_s: between two pieces of an answer.
        choices_as: the server's way to constrain an answer to choices.

    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        base_url: str,
        model: str,
        api_key: str = "",
        headers: Mapping[str, str] | None = None,
        fields: Mapping[str, Any] | None = None,
        timeout_s: float = 60.0,
        stall_timeout_s: float = 30.0,
        choices_as: ChoicesAs = "structured_outputs",
    ) -> None:
        self.model = model
        self._session = session
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._headers = dict(headers or {}) | ({"authorization": f"Bearer {api_key}"} if api_key else {})
        self._fields = dict(fields or {})
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_read=stall_timeout_s)
        self._choices_as = choices_as

    async def complete(self, request: ChatRequest) -> ChatReply:
        """The complete answer; raises ChatFailure."""
        body = self._body(request)
        with _failures():
            async with self._session.post(
                self._url, json=body, headers=self._headers, timeout=self._timeout
            ) as response:
                await _raise_for_status(response)
                answer = await response.json(content_type=None)
                return reply_of(answer, request, self.model, choices_as=self._choices_as)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[TextDelta | ChatReply, None]:
        """The answer's text as a stream, then the complete answer; raises ChatFailure."""
        body = self._body(request) | {"stream": True, "stream_options": {"include_usage": True}}
        streamed = StreamedReply(request, self.model, choices_as=self._choices_as)
        with _failures():
            async with self._session.post(
                self._url, json=body, headers=self._headers, timeout=self._timeout
            ) as response:
                await _raise_for_status(response)
                async with aclosing(_events(response)) as events:
                    async for event in events:
                        if text := streamed.feed(event):
                            yield TextDelta(text)
            reply = streamed.whole()
        if streamed.hides_text:
            yield TextDelta(reply.text)
        yield reply

    def _body(self, request: ChatRequest) -> Json:
        return self._fields | body_of(request, self.model, choices_as=self._choices_as)


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[Json, None]:
    """The events of a stream; raises CutStream if it is cut off."""
    pending = b""
    async for chunk in response.content.iter_any():
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) > MAX_LINE_BYTES:
            raise CutStream("A line of the answer was too long.")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            event = json.loads(data)
            if not isinstance(event, dict):
                raise CutStream("An event of the answer was no object.")
            yield event
    raise CutStream("The answer broke off.")


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status < 400:
        return
    try:
        body = json.loads(await response.content.read(MAX_LINE_BYTES))
    except ValueError:
        body = {}
    error = body.get("error", body) if isinstance(body, dict) else {}
    raise failure_of(response.status, error, response.headers.get("retry-after"))


@contextmanager
def _failures() -> Iterator[None]:
    """Turn aiohttp's exceptions, and bodies of unexpected shape, into a ChatFailure."""
    try:
        yield
    except TimeoutError as problem:
        raise TimedOut("No complete answer in time.") from problem
    except aiohttp.ClientPayloadError as problem:
        raise CutStream("The answer broke off.") from problem
    except (aiohttp.ClientError, OSError) as problem:
        raise Unavailable(f"No answer ({type(problem).__name__}).") from problem
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as problem:
        raise CutStream(f"The answer was no answer ({type(problem).__name__}).") from problem
