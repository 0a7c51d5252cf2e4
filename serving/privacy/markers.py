"""Markers that a client puts on private messages or parts: `"bondhu": {"private": "memory"}`.

`memory` marks what was recalled of a person, `sensitive` what the client knows to be private. OpenAI's protocol has no
such field, so markers are removed before a model sees the request. An unknown marker is an error, because ignoring it
could send private content. This module does not know what happens to marked content (`serving.privacy.redaction`).
"""

from collections.abc import Mapping
from typing import Any

from serving.errors import InvalidRequest

FIELD = "bondhu"
MARKS = ("memory", "sensitive")


def check_marks(messages: Any) -> None:
    """Raise InvalidRequest for unknown markers; nothing else in messages is checked."""
    for index, message in _objects(messages):
        if FIELD in message:
            _check(message[FIELD], f"messages.{index}.{FIELD}")
        for number, part in _objects(message.get("content")):
            if FIELD in part:
                _check(part[FIELD], f"messages.{index}.content.{number}.{FIELD}")


def mark_of(marked: Mapping[str, Any]) -> str | None:
    """The marker of a message or part whose markers have been checked; None without one."""
    mark = marked.get(FIELD)
    return mark["private"] if mark else None


def without_marks(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body without markers, for an engine; the same object if there are none."""
    messages = body.get("messages")
    if not any(_is_marked(message) for _, message in _objects(messages)):
        return body
    return {**body, "messages": [unmarked(message) for message in messages or ()]}


def unmarked(message: Any) -> Any:
    """A message without its markers and those of its parts."""
    if not _is_marked(message):
        return message
    bare = {key: value for key, value in message.items() if key != FIELD}
    if isinstance(bare.get("content"), list):
        bare["content"] = [
            {key: value for key, value in part.items() if key != FIELD} if isinstance(part, dict) else part
            for part in bare["content"]
        ]
    return bare


def _check(mark: Any, where: str) -> None:
    if not isinstance(mark, dict) or mark.keys() != {"private"} or mark["private"] not in MARKS:
        accepted = " or ".join(f'{{"private": "{name}"}}' for name in MARKS)
        raise InvalidRequest(f"{where}: must be {accepted}.", param=where)


def _is_marked(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    return FIELD in message or any(FIELD in part for _, part in _objects(message.get("content")))


def _objects(values: Any) -> list[tuple[int, dict[str, Any]]]:
    """The objects in a list, with their places; empty if `values` is not a list."""
    if not isinstance(values, list):
        return []
    return [(index, value) for index, value in enumerate(values) if isinstance(value, dict)]
