"""Translates llama.cpp's answers to vLLM's: compact JSON, counts on every event, log probabilities.

The gateway reads counts from the passing bytes (`serving.protocol.stream_usage`), so the order of keys matters:
`choices` begin with their index, `usage` comes last. This module knows only a few facts about the request.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.chat_chunks import collect
from models.llama_cpp.forced_call import ForcedCall

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"


def dump(content: Mapping[str, Any]) -> bytes:
    """Compact JSON."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def event(content: Mapping[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + dump(content) + b"\n\n"


def error(message: str, *, status: int, param: str | None = None) -> Json:
    """An error in vLLM's envelope."""
    return {"error": {"message": message, "type": "BadRequestError", "param": param, "code": status}}


def of_error(body: Mapping[str, Any]) -> Json:
    """llama.cpp's error in that envelope; anything that is not the client's fault is a 500."""
    problem = body["error"]
    message, status = str(problem.get("message", "")), int(problem.get("code", 500))
    if problem.get("type") == "exceed_context_size_error":
        prompt, context = problem.get("n_prompt_tokens"), problem.get("n_ctx")
        message = f"The prompt has {prompt} tokens; the context length of this model is {context} tokens."
    elif "parser for this template" in message or "grammar" in message:
        return error("The grammar of this constraint cannot be made: " + message.rpartition(": ")[2], status=400)
    elif message == "Prompt contains invalid tokens":
        return error("prompt: a number in it is no token id of this model", status=400, param="prompt")
    elif message.startswith("Field '"):
        field = message.split("'")[1]
        return error(f"{field}: {message.rpartition('] ')[2]}", status=status, param=field)
    return error(message, status=status)


class Teller:
    """Translates one answer.

    Args:
        model: the requested model id.
        chats: whether it answers a chat rather than a completion.
        forced: the required tool call; None: text, or a call that llama.cpp itself recognises.
        wants_last: whether the client wants counts at the end of a stream.
        wants_all: whether the client wants counts on every event.
        top_logprobs: the requested number of alternatives for each token of a chat.

    """

    def __init__(
        self,
        *,
        model: str,
        chats: bool,
        forced: ForcedCall | None,
        wants_last: bool = False,
        wants_all: bool = False,
        top_logprobs: int = 0,
    ) -> None:
        self._model = model
        self._chats = chats
        self._forced = forced
        self._wants_last = wants_last
        self._wants_all = wants_all
        self._top_logprobs = top_logprobs
        self._usage: Json = {}
        self._id, self._created = "", 0
        self._offset = 0  # of the text of a completion's stream, for its log probabilities

    def first(self, chunk: Mapping[str, Any]) -> list[Json]:
        """The events before the first one of a forced call, which comes from a completion."""
        if self._forced is None or "error" in chunk:
            return []
        self._id, self._created = chunk["id"], chunk["created"]
        choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        return [{**self._head("chat.completion.chunk"), "choices": [choice]}]

    def chunk(self, chunk: Mapping[str, Any]) -> list[Json]:
        """The events for one event of llama.cpp, each with the counts so far if requested."""
        self._id, self._created = chunk.get("id", self._id), chunk.get("created", self._created)
        if "error" in chunk:
            return [of_error(chunk)]
        if timings := chunk.get("timings"):
            self._usage = _usage(timings)
        if chunk.get("usage"):
            self._usage = chunk["usage"]
        events = []
        for choice in chunk["choices"]:
            for piece in self._chunk_choices(choice):
                content = {**self._head(self._chunk_kind()), "choices": [piece]}
                if self._wants_all and self._usage:
                    content["usage"] = self._usage
                events.append(content)
        return events

    def last(self) -> list[Json]:
        """The counts, if requested."""
        return [{**self._head(self._chunk_kind()), "choices": [], "usage": self._usage}] if self._wants_last else []

    def _chunk_kind(self) -> str:
        return "chat.completion.chunk" if self._chats else "text_completion"

    def _head(self, kind: str) -> Json:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}

    def _chunk_choices(self, choice: Mapping[str, Any]) -> Iterator[Json]:
        finish = choice.get("finish_reason")
        if not self._chats:
            logprobs = _completion_logprobs(choice.get("logprobs"), self._offset)
            self._offset += len(choice["text"])
            yield {"index": choice["index"], "text": choice["text"], "logprobs": logprobs, "finish_reason": finish}
            return
        if self._forced is not None:
            deltas = self._forced.feed(choice["text"])
            delta: Json = {"tool_calls": deltas} if deltas else {}
            finish = "tool_calls" if finish == "stop" else finish
            if len(deltas) > 1:
                yield {"index": 0, "delta": {"tool_calls": deltas[:1]}, "logprobs": None, "finish_reason": None}
                delta = {"tool_calls": deltas[1:]}
        else:
            delta = dict(choice["delta"])
            if delta.get("role") and delta.get("content") is None and not delta.get("tool_calls"):
                delta["content"] = ""
            delta.pop("reasoning_content", None)
        if not delta and finish is None:
            return
        yield {
            "index": choice["index"],
            "delta": delta,
            "logprobs": self._wanted_logprobs(choice.get("logprobs")),
            "finish_reason": finish,
        }

    def _wanted_logprobs(self, logprobs: Mapping[str, Any] | None) -> Json | None:
        """At most the requested alternatives: llama.cpp cannot return a token's probability without alternatives."""
        if not logprobs or not logprobs.get("content"):
            return dict(logprobs) if logprobs else None
        tokens = [{**each, "top_logprobs": each["top_logprobs"][: self._top_logprobs]} for each in logprobs["content"]]
        return {**logprobs, "content": tokens}


def whole(events: Sequence[Mapping[str, Any]], *, chats: bool) -> Json:
    """The complete answer from the events of a stream, whose counts come last."""
    if chats:
        content = collect(events)
    else:
        choices = [choice for each in events for choice in each["choices"]]
        content = {**events[-1], "choices": [{**choices[-1], "text": "".join(each["text"] for each in choices)}]}
        if logprobs := [each["logprobs"] for each in choices if each["logprobs"]]:
            content["choices"][0]["logprobs"] = {
                name: [one for each in logprobs for one in each[name]] for name in logprobs[0]
            }
    return {**{name: value for name, value in content.items() if name != "usage"}, "usage": content["usage"]}


def _usage(timings: Mapping[str, Any]) -> Json:
    cached, completion = timings.get("cache_n", 0), timings.get("predicted_n", 0)
    prompt = cached + timings.get("prompt_n", 0)
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def _completion_logprobs(logprobs: Mapping[str, Any] | None, offset: int) -> Json | None:
    """Return a chat's log probabilities in the older form of completions."""
    if not logprobs or "content" not in logprobs:
        return None
    columns: Json = {"text_offset": [], "token_logprobs": [], "tokens": [], "top_logprobs": []}
    for token in logprobs["content"]:
        columns["text_offset"].append(offset)
        columns["token_logprobs"].append(token["logprob"])
        columns["tokens"].append(token["token"])
        columns["top_logprobs"].append({each["token"]: each["logprob"] for each in token["top_logprobs"]})
        offset += len(token["token"])
    return columns
