"""Chats in another protocol: the request becomes a chat's body, the chat's response is written anew on its way out.

So such a request is admitted, limited, recorded, cached, shared and continued like a chat, and agents answer it too.
This module does not know the protocols.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson
from fastapi import Request
from fastapi.responses import Response

from serving.config.schema import ModelSpec
from serving.errors import ApiError, InvalidRequest
from serving.protocol.request import CHAT
from serving.protocol.response import Headers, Sink, Source
from serving.protocol.sse import DATA, END, is_stream
from serving.routes.body import read_json
from serving.routes.client_response import ClientResponse
from serving.routes.counted import refused
from serving.routes.dependencies import caller_of, gateway_of
from serving.routes.openai.completions import respond
from serving.routes.openai.parts import GeneratingParts
from serving.streams.policy import DISCONNECT_HEADER, RESUME_HEADER

Json = dict[str, Any]


class Writer(Protocol):
    """Writes one reply of a chat in another protocol."""

    def on_chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """The events for a chunk."""

    def on_comment(self, comment: bytes) -> bytes:
        """What keeps the connection alive."""

    def on_error(self, error: Mapping[str, Any]) -> bytes:
        """The end of a stream that failed."""

    def on_end(self) -> bytes:
        """The last events; none after an error."""

    def on_body(self, body: bytes) -> bytes:
        """The body for a whole completion."""

    def on_error_body(self, status: int, body: bytes) -> bytes:
        """The body of an error response."""


class Dialect(Protocol):
    """A protocol that chats are translated from and to."""

    def chat_body_of(self, parsed: Mapping[str, Any], spec: ModelSpec | None) -> Json:
        """The body of the chat for a model (None: its file is not known here); raises InvalidRequest."""

    def name_of(self, param: str | None) -> str | None:
        """The name of a chat's field."""

    def writer(self, parsed: Mapping[str, Any], request_id: str) -> Writer:
        """What writes the reply to this request."""


async def answer(http_request: Request, endpoint: str, dialect: Dialect) -> Response:
    """The response to a request at `endpoint`; raises ApiError in the protocol's names."""
    gateway = await gateway_of(http_request)
    caller, parts = await caller_of(http_request, gateway), gateway.generating
    parsed: Json = {}
    try:
        body, parsed = await read_json(http_request, parts.settings.gateway.max_body_bytes)
        _check_headers(http_request)
        chat = dialect.chat_body_of(parsed, _spec_of(parts, parsed))
    except ApiError as problem:
        raise await refused(problem, http_request, parts, caller, endpoint, parsed) from None
    try:
        source = await respond(http_request, parts, caller, CHAT, chat, size_bytes=len(body), endpoint=endpoint)
    except ApiError as problem:
        raise _renamed(problem, dialect) from None
    writer = dialect.writer(parsed, http_request.scope["bondhu.request_id"])
    return ClientResponse(Translated(source, writer, lambda problem: _renamed(problem, dialect)))


def _spec_of(parts: GeneratingParts, parsed: Mapping[str, Any]) -> ModelSpec | None:
    """The file of the model that answers the request; of an agent, of the model that it uses."""
    name = parsed.get("model")
    if not isinstance(name, str) or not parts.models.is_known(name):
        return None
    model = parts.models.answers(name)
    is_agent = parts.models.agent(model) is not None
    return parts.settings.catalogue.get(parts.models.agents_model() if is_agent else model)


class Translated:
    """A chat's response in another protocol; a `serving.protocol.response.Source`.

    Args:
        source: the chat's response.
        writer: writes it anew.
        renamed: changes an error, which is raised before anything is sent, to the protocol's names.

    """

    def __init__(self, source: Source, writer: Writer, renamed: Callable[[ApiError], ApiError]) -> None:
        self._source = source
        self._writer = writer
        self._renamed = renamed

    def abandon(self) -> None:
        """Stop."""
        self._source.abandon()

    async def run(self, sink: Sink) -> None:
        """Send it."""
        try:
            await self._source.run(_Translating(sink, self._writer))
        except ApiError as problem:
            raise self._renamed(problem) from None


class _Translating:
    """A sink for a chat's response, which passes it on in another protocol."""

    def __init__(self, sink: Sink, writer: Writer) -> None:
        self._sink = sink
        self._writer = writer
        self._status = 0
        self._headers: Headers = []
        self._streams = False
        self._rest = b""

    async def start(self, status: int, headers: Headers) -> None:
        """Begin a stream; the length of another response is not known yet."""
        self._status, self._headers = status, headers
        self._streams = is_stream(headers)
        if self._streams:
            await self._sink.start(status, headers)

    async def write(self, events: bytes) -> None:
        """Translate events."""
        if not self._streams:
            self._rest += events
        elif written := self._written(events):
            await self._sink.write(written)

    async def end(self, rest: bytes = b"") -> None:
        """Translate the last events, or the body."""
        if self._streams:
            await self._sink.end(self._written(rest) + self._writer.on_end())
            return
        body = self._rest + rest
        written = self._writer.on_body(body) if self._status == 200 else self._writer.on_error_body(self._status, body)
        headers = [(name, value) for name, value in self._headers if name != b"content-length"]
        await self._sink.start(self._status, [*headers, (b"content-length", str(len(written)).encode())])
        await self._sink.end(written)

    def _written(self, block: bytes) -> bytes:
        *events, self._rest = (self._rest + block).split(END)
        return b"".join([self._event(event) for event in events])

    def _event(self, event: bytes) -> bytes:
        if event.startswith(b":"):
            return self._writer.on_comment(event + END)
        data = event[event.find(DATA) + len(DATA) :]  # a shared stream's events have an id before
        if not data.startswith(b"{"):
            return b""  # [DONE]
        chunk: Json = orjson.loads(data)
        return self._writer.on_error(chunk["error"]) if "error" in chunk else self._writer.on_chunk(chunk)


def _check_headers(http_request: Request) -> None:
    for name in (RESUME_HEADER, DISCONNECT_HEADER):
        if http_request.headers.get(name, "abort") != "abort":
            raise InvalidRequest(f"{name}: only available at {CHAT}; streams here cannot be resumed.", param=name)


def _renamed(problem: ApiError, dialect: Dialect) -> ApiError:
    """The error with the protocol's name of its field."""
    name = dialect.name_of(problem.param)
    if problem.param and name and problem.message.startswith(f"{problem.param}:"):
        problem.message = f"{name}{problem.message[len(problem.param) :]}"
    problem.param = name
    return problem
