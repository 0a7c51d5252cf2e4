"""Merges the chunks of a streamed chat completion into one object, for clients that did not request a stream.

Follows OpenAI's `chat.completion.chunk` and `chat.completion` objects, of any model and with any number of choices:
https://platform.openai.com/docs/api-reference/chat-streaming. Unknown fields are kept.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]

_WHOLE = frozenset({"role", "id", "type", "name"})  # texts that come once; all others come in pieces


class _Pieces(list[Any]):
    """Texts or lists in order, joined once at the end because there may be many."""

    def joined(self) -> Any:
        """All of them."""
        if isinstance(self[0], str):
            return "".join(self)
        return [item for piece in self for item in piece]


def collect(chunks: Iterable[Mapping[str, Any]]) -> Json:
    """The `chat.completion` that the chunks, in order, amount to."""
    completion: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        for choice in chunk.get("choices") or ():
            _merge_choice(choices.setdefault(choice.get("index", 0), {}), choice)
        completion.update((key, value) for key, value in chunk.items() if value is not None and key != "choices")
    completion["object"] = "chat.completion"
    completion["choices"] = [_finished(index, choices[index]) for index in sorted(choices)]
    return completion


def _merge_choice(whole: Json, piece: Mapping[str, Any]) -> None:
    for key, value in piece.items():
        if key == "delta":
            _merge(whole.setdefault("message", {}), value or {})
        elif key == "logprobs" and value:
            _merge(whole.setdefault("logprobs", {}), value)
        elif value is not None:
            whole[key] = value


def _merge(whole: Json, piece: Mapping[str, Any]) -> None:
    """Add a piece: texts are joined, lists appended, calls matched by index, other values replaced."""
    for key, value in piece.items():
        if value is None:
            continue
        known = whole.get(key)
        if key == "tool_calls":
            calls = whole.setdefault(key, {})
            for call in value:
                _merge(calls.setdefault(call.get("index", 0), {}), call)
        elif isinstance(value, Mapping):
            if not isinstance(known, dict):
                known = whole[key] = {}
            _merge(known, value)
        elif key not in _WHOLE and isinstance(value, str | list):
            if isinstance(known, _Pieces) and type(known[0]) is type(value):
                known.append(value)
            else:
                whole[key] = _Pieces([value])
        else:
            whole[key] = value


def _joined(value: Any) -> Any:
    if isinstance(value, _Pieces):
        return value.joined()
    return {key: _joined(each) for key, each in value.items()} if isinstance(value, dict) else value


def _finished(index: int, pieces: Json) -> Json:
    choice: Json = _joined(pieces)
    message: Json = {"role": "assistant", "content": None, **choice.pop("message", {})}
    if calls := message.pop("tool_calls", None):
        message["tool_calls"] = [
            {key: value for key, value in calls[place].items() if key != "index"} for place in sorted(calls)
        ]
        message["content"] = message["content"] or None
    elif message["content"] is None:
        message["content"] = ""
    return {"index": index, "message": message, "logprobs": None, "finish_reason": None, **choice}
