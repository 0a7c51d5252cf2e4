"""Sends a fixed text as a chat or plain completion, streamed or not; its `model` says that no model generated it.

This module does not know the text, nor the reason for it.
"""

from typing import Any

import orjson

from models.chat_chunks import collect
from serving.protocol.request import CHAT, GenerationRequest
from serving.protocol.response import MODEL_HEADER, Headers, ResponseWriter, Sink
from serving.protocol.sse import DONE, HEADERS, Event, joined

Json = dict[str, Any]
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


async def send(request: GenerationRequest, writer: ResponseWriter, chunks: list[Json], label: str) -> None:
    """Answer with these chunks, to the end; what had begun of an answer stays as it is."""
    await writer.unguarded()
    if request.streams:
        await writer.events(_events(chunks), label, is_last=True)
    else:
        await writer.whole(200, _whole(request, chunks), label)


class FixedReply:
    """The text as a response by itself; a `serving.protocol.response.Source`.

    Args:
        request: the request.
        chunks: the text.
        headers: additional headers.
        label: the model id.

    """

    def __init__(self, request: GenerationRequest, chunks: list[Json], headers: Headers, label: str) -> None:
        self._request = request
        self._chunks = chunks
        self._headers = [(MODEL_HEADER, label.encode()), *headers]

    async def run(self, sink: Sink) -> None:
        """Send it."""
        if self._request.streams:
            body, headers = joined(_events(self._chunks)), [*HEADERS]
        else:
            body = _whole(self._request, self._chunks)
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await sink.start(200, [*headers, *self._headers])
        await sink.end(body)

    def abandon(self) -> None:
        """Do nothing: it is sent at once."""


def chunks_of(request: GenerationRequest, text: str, *, label: str, id_: str, created: int) -> list[Json]:
    """The text as the chunks of the answer that `request` wants."""
    is_chat = request.path == CHAT
    object_ = "chat.completion.chunk" if is_chat else "text_completion"
    head = {"id": f"{'chatcmpl' if is_chat else 'cmpl'}-{id_}", "object": object_, "created": created, "model": label}
    choices: list[Json] = [{"text": text, "logprobs": None, "finish_reason": "stop"}]
    if is_chat:
        choices = [
            {"delta": {"role": "assistant", "content": ""}, "finish_reason": None},
            {"delta": {"content": text}, "finish_reason": None},
            {"delta": {}, "finish_reason": "stop"},
        ]
    chunks: list[Json] = [{**head, "choices": [{"index": 0, **choice}]} for choice in choices]
    if request.stream_options.get("include_usage") or not request.streams:
        chunks = [{**chunk, "usage": None} for chunk in chunks]
        chunks.append({**head, "choices": [], "usage": dict.fromkeys(_COUNTS, 0)})
    return chunks


def _events(chunks: list[Json]) -> list[Event]:
    return [*map(Event.of, chunks), Event(DONE)]


def _whole(request: GenerationRequest, chunks: list[Json]) -> bytes:
    if request.path == CHAT:
        return orjson.dumps(collect(chunks))
    return orjson.dumps(chunks[0] | {"usage": chunks[-1]["usage"]})
