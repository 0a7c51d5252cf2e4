"""Translates a chat's reply to a message of Anthropic's protocol: complete, or as the events of its stream.

Blocks follow each other, one at a time. A tool call with unfinished arguments is part of a stream, which then ends with
`max_tokens`, but not of a complete message.
https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from collections.abc import Mapping
from typing import Any

import orjson

from serving.protocol.anthropic.errors import error_body, error_of
from serving.protocol.sse import named_event

Json = dict[str, Any]
EXTENSION = "bondhu"  # cards of agents, and which model wrote what
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use", "content_filter": "refusal"}
_STATUSES = {"rate_limit_exceeded": 429, "engine_timeout": 504}


class MessagesWriter:
    """Writes one message.

    Args:
        request: the request's body, which has been translated before.
        id_: hexadecimal digits, unique.
        request_id: the gateway's id of the request.

    """

    def __init__(self, request: Mapping[str, Any], *, id_: str, request_id: str) -> None:
        self._request_id = request_id
        self._thinks = (request.get("thinking") or {}).get("type") in ("enabled", "adaptive")
        self._message: Json = {
            "id": f"msg_{id_}",
            "type": "message",
            "role": "assistant",
            "model": request["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage({}),
        }
        self._has_begun = False
        self._ended = False
        self._kind = ""  # of the open block
        self._index = -1  # of the open block
        self._call: Any = None  # the call's index in the chat, if the block is one
        self._choice: Json = {}  # of the last chunk with a finish_reason
        self._extension: Json = {}

    def on_chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """The events for a chunk of the chat."""
        if chunk.get("usage"):
            self._message["usage"] = _usage(chunk["usage"])
        out = self._begun(chunk)
        self._extend(chunk.get(EXTENSION))
        for choice in chunk.get("choices") or ():
            out += self._on_delta(choice.get("delta") or {})
            self._choice = choice if choice.get("finish_reason") else self._choice
        return out

    def on_error(self, error: Mapping[str, Any]) -> bytes:
        """The end of a stream that failed; `error` is OpenAI's error object."""
        self._ended = True
        status = _STATUSES.get(str(error.get("code")), 500)
        return _event("error", **error_of(status, error, self._request_id))

    def on_comment(self, comment: bytes) -> bytes:
        """A keep-alive, which is an event in this protocol."""
        return PING if self._has_begun else comment

    def on_end(self) -> bytes:
        """The last events; none if an error ended the stream."""
        if self._ended:
            return b""
        out = self._begun({})
        if self._index < 0:  # clients take the first block for granted
            out += self._opened({"type": "text", "text": ""})
        out += self._closed()
        usage = self._message["usage"]
        reason, sequence = _stopped(self._choice)
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        extension = {EXTENSION: self._extension} if self._extension else {}
        return out + _event("message_delta", delta=delta, usage=usage, **extension) + _event("message_stop")

    def on_body(self, body: bytes) -> bytes:
        """The message for a whole chat completion."""
        completion: Json = orjson.loads(body)
        choice = completion["choices"][0]
        reply = choice["message"]
        content: list[Json] = []
        if self._thinks and (thought := reply.get("reasoning") or reply.get("reasoning_content")):
            content.append({"type": "thinking", "thinking": thought, "signature": ""})
        if reply.get("content"):
            content.append({"type": "text", "text": reply["content"]})
        for call in reply.get("tool_calls") or ():
            try:
                arguments = orjson.loads(call["function"].get("arguments") or "{}")
            except orjson.JSONDecodeError:
                continue  # unfinished
            content.append({"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": arguments})
        self._extend(completion.get(EXTENSION))
        self._extend(reply.get(EXTENSION))
        reason, sequence = _stopped(choice)
        message = self._message | {
            "model": completion.get("model") or self._message["model"],
            "content": content or [{"type": "text", "text": ""}],
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": _usage(completion.get("usage") or {}),
        }
        return orjson.dumps(message | ({EXTENSION: self._extension} if self._extension else {}))

    def on_error_body(self, status: int, body: bytes) -> bytes:
        """The body of an error in this protocol's shape."""
        return error_body(status, body, self._request_id)

    def _begun(self, chunk: Mapping[str, Any]) -> bytes:
        if self._has_begun:
            return b""
        self._has_begun = True
        self._message["model"] = chunk.get("model") or self._message["model"]
        return _event("message_start", message=self._message)

    def _on_delta(self, delta: Mapping[str, Any]) -> bytes:
        self._extend(delta.get(EXTENSION))
        out = b""
        thought = delta.get("reasoning") or delta.get("reasoning_content")
        if thought and self._thinks:
            if self._kind != "thinking":
                out += self._opened({"type": "thinking", "thinking": "", "signature": ""})
            out += self._delta({"type": "thinking_delta", "thinking": thought})
        if text := delta.get("content"):
            if self._kind != "text":
                out += self._opened({"type": "text", "text": ""})
            out += self._delta({"type": "text_delta", "text": text})
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            if self._kind != "tool_use" or call.get("index", self._call) != self._call:
                self._call = call.get("index")
                block = {"type": "tool_use", "id": call.get("id") or f"toolu_{self._message['id']}{self._index + 1}"}
                out += self._opened({**block, "name": function.get("name") or "", "input": {}})
            if function.get("arguments"):
                out += self._delta({"type": "input_json_delta", "partial_json": function["arguments"]})
        return out

    def _opened(self, block: Json) -> bytes:
        out = self._closed()
        self._index += 1
        self._kind = block["type"]
        return out + _event("content_block_start", index=self._index, content_block=block)

    def _closed(self) -> bytes:
        if not self._kind:
            return b""
        self._kind = ""
        return _event("content_block_stop", index=self._index)

    def _delta(self, delta: Json) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)

    def _extend(self, extension: Any) -> None:
        """Gather what chats have under `bondhu`: lists are joined."""
        for name, value in extension.items() if isinstance(extension, dict) else ():
            known = self._extension.get(name)
            self._extension[name] = [*known, *value] if isinstance(known, list) and isinstance(value, list) else value


def _stopped(choice: Mapping[str, Any]) -> tuple[str, str | None]:
    """The reason of the end, and the stop sequence that was found; vLLM names it in `stop_reason`."""
    finish, found = choice.get("finish_reason"), choice.get("stop_reason")
    if finish == "stop" and isinstance(found, str):
        return "stop_sequence", found
    return _REASONS.get(str(finish), "end_turn"), None


def _usage(usage: Mapping[str, Any]) -> Json:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    return {
        "input_tokens": max(0, (usage.get("prompt_tokens") or 0) - cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.get("completion_tokens") or 0,
    }


def _event(kind: str, **fields: Any) -> bytes:
    return named_event(kind, orjson.dumps({"type": kind} | fields))
