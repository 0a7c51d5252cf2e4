"""A chat's reply as a response of the Responses protocol: whole, or as the events of its stream, in their order.

One state machine does both: a whole reply is a stream of one chunk whose events nobody reads. Calls of functions stay
open until the end, because a model may go back and forth between them.
https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Mapping
from typing import Any

import orjson

from serving.protocol.responses.output import CallItem, Event, Item, ReasoningItem, TextItem
from serving.protocol.sse import named_event

Json = dict[str, Any]
ECHOED = (  # fields of the request that its response repeats
    *("instructions", "max_output_tokens", "max_tool_calls", "temperature", "top_p", "top_logprobs", "user"),
    *("safety_identifier", "prompt_cache_key"),
)
EXTENSION = "bondhu"  # cards of agents, and which model wrote what
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_CODES = {"rate_limit_exceeded": "rate_limit_exceeded"}  # the others that can happen are all `server_error`


class ResponsesWriter:
    """Writes one response.

    Args:
        request: the request's body, which has been translated before.
        id_: hexadecimal digits, unique.
        created_at: unix seconds.

    """

    def __init__(self, request: Mapping[str, Any], *, id_: str, created_at: int) -> None:
        self._id = id_
        self._sequence = 0
        self._items: list[Item] = []
        self._open: Item | None = None  # a text or reasoning
        self._calls: dict[int, CallItem] = {}  # by their index in the chat
        self._finish: str | None = None
        self._extension: Json = {}
        self._ended = False
        self._response = _response_to(request, id_, created_at)

    def on_chunk(self, chunk: Mapping[str, Any]) -> bytes:
        """The events for a chunk of the chat."""
        events = self._begun(chunk)
        if chunk.get("usage"):
            self._response["usage"] = _usage(chunk["usage"])
        self._extend(chunk.get(EXTENSION))
        for choice in chunk.get("choices") or ():
            self._on_delta(choice.get("delta") or {}, choice.get("logprobs") or {}, events)
            self._finish = choice.get("finish_reason") or self._finish
        return self._written(events)

    def on_error(self, error: Mapping[str, Any]) -> bytes:
        """The end of a stream that failed; `error` is OpenAI's error object."""
        self._ended = True
        events = self._begun({})
        about = {name: error.get(name) for name in ("code", "message", "param")}
        code = _CODES.get(str(error.get("code")), "server_error")
        self._response |= {"status": "failed", "error": {"code": code, "message": str(error.get("message"))}}
        events += [("error", about), ("response.failed", {"response": self._response})]
        return self._written(events)

    def on_comment(self, comment: bytes) -> bytes:
        """A keep-alive, unchanged."""
        return comment

    def on_end(self) -> bytes:
        """The last events; none if an error ended the stream."""
        if self._ended:
            return b""
        events = self._begun({})
        self._complete(events)
        return self._written([*events, (f"response.{self._response['status']}", {"response": self._response})])

    def on_body(self, body: bytes) -> bytes:
        """The response for a whole chat completion."""
        completion: Json = orjson.loads(body)
        choice = completion["choices"][0]
        message = choice["message"]
        calls = [{**call, "index": index} for index, call in enumerate(message.get("tool_calls") or ())]
        chunk = {**completion, "choices": [{**choice, "delta": {**message, "tool_calls": calls}}]}
        self.on_chunk(chunk)
        self._complete([])
        return orjson.dumps(self._response)

    def on_error_body(self, status: int, body: bytes) -> bytes:
        """The body of an error, unchanged: it is the same in both protocols."""
        return body

    def _begun(self, chunk: Mapping[str, Any]) -> list[Event]:
        """The events of the beginning, once."""
        if self._sequence:
            return []
        self._response["model"] = chunk.get("model") or self._response["model"]
        snapshot = dict(self._response)
        return [("response.created", {"response": snapshot}), ("response.in_progress", {"response": snapshot})]

    def _on_delta(self, delta: Mapping[str, Any], logprobs: Mapping[str, Any], events: list[Event]) -> None:
        self._extend(delta.get(EXTENSION))
        if thought := delta.get("reasoning") or delta.get("reasoning_content"):
            events += self._current(ReasoningItem, events).added(thought)
        if text := delta.get("content"):
            events += self._current(TextItem, events).added(text, logprobs.get("content") or ())
        for call in delta.get("tool_calls") or ():
            index = call.get("index", len(self._calls))
            if index not in self._calls:
                self._calls[index] = CallItem(len(self._items), self._id, call)
                self._add(self._calls[index], events)
            if arguments := (call.get("function") or {}).get("arguments"):
                events += self._calls[index].added(arguments)

    def _current(self, kind: type[Item], events: list[Event]) -> Item:
        """The open item, if it is of this kind; otherwise a new one."""
        if type(self._open) is not kind:
            item = kind(len(self._items), self._id)
            self._add(item, events)
            self._open = item
        assert self._open is not None, "set just now"
        return self._open

    def _add(self, item: Item, events: list[Event]) -> None:
        if self._open is not None:
            events += self._open.closed("completed")
            self._open = None
        self._items.append(item)
        events += item.opened()

    def _complete(self, events: list[Event]) -> None:
        """Close all items and fill in the end of the response."""
        reason = _INCOMPLETE.get(self._finish or "")
        status = "incomplete" if reason else "completed"
        if not self._items:
            self._current(TextItem, events)  # clients take the first item for granted
        last = self._items[-1]
        statuses = {item: status if item is last else "completed" for item in self._items}
        for item in [*([self._open] if self._open else []), *self._calls.values()]:
            events += item.closed(statuses[item])
        self._response |= {
            "status": status,
            "incomplete_details": {"reason": reason} if reason else None,
            "output": [item.document(statuses[item]) for item in self._items],
        }
        if self._extension:
            self._response[EXTENSION] = self._extension

    def _extend(self, extension: Any) -> None:
        """Gather what chats have under `bondhu`: lists are joined."""
        for name, value in extension.items() if isinstance(extension, dict) else ():
            known = self._extension.get(name)
            self._extension[name] = [*known, *value] if isinstance(known, list) and isinstance(value, list) else value

    def _written(self, events: list[Event]) -> bytes:
        lines = []
        for kind, fields in events:
            data = orjson.dumps({"type": kind, "sequence_number": self._sequence, **fields})
            lines.append(named_event(kind, data))
            self._sequence += 1
        return b"".join(lines)


def _response_to(request: Mapping[str, Any], id_: str, created_at: int) -> Json:
    """The response before there is any output."""
    reasoning, text = request.get("reasoning") or {}, request.get("text") or {}
    return {
        "id": f"resp_{id_}",
        "object": "response",
        "created_at": created_at,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        **{name: request.get(name) for name in ECHOED},
        "metadata": request.get("metadata") or {},
        "model": request["model"],
        "output": [],
        "parallel_tool_calls": request.get("parallel_tool_calls") is not False,
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "service_tier": "default",
        "store": False,
        "text": {"format": text.get("format") or {"type": "text"}},
        "tool_choice": request.get("tool_choice") or "auto",
        "tools": request.get("tools") or [],
        "truncation": "disabled",
        "usage": None,
    }


def _usage(usage: Mapping[str, Any]) -> Json:
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + completion,
    }
