"""Marks of a request's sender on what is private in it: `"bondhu": {"private": "memory"}` on a message or a part.

`memory` is what was recalled of a person, `sensitive` what the sender knows to be. OpenAI's protocol has no field for
it, and what answers is not shown it: marks are for the gateway alone. A mark that is not understood is an error, for to
pass over it would be to break a promise. It does not know what is done about what is marked
(`serving.privacy.redaction`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from serving.errors import InvalidRequest

FIELD = "bondhu"
MARKS = ("memory", "sensitive")


def check_marks(messages: Any) -> None:
    """Refuse marks that are not understood; raises InvalidRequest. Other faults of messages are not looked for."""
    for index, message in enumerate(_objects(messages)):
        if FIELD in message:
            _check(message[FIELD], f"messages.{index}.{FIELD}")
        for number, part in enumerate(_objects(message.get("content"))):
            if FIELD in part:
                _check(part[FIELD], f"messages.{index}.content.{number}.{FIELD}")


def mark_of(marked: Mapping[str, Any]) -> str | None:
    """The mark of a message or part, whose marks have been checked."""
    mark = marked.get(FIELD)
    return mark["private"] if mark else None


def without_marks(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body as an engine may see it; the same object when nothing is marked."""
    messages = body.get("messages")
    if not any(_is_marked(message) for message in _objects(messages)):
        return body
    return {**body, "messages": [unmarked(message) for message in messages or ()]}


def unmarked(message: Any) -> Any:
    """A message without its mark, and those of its parts."""
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
        accepted = " or ".join(f'{{"private": "{each}"}}' for each in MARKS)
        raise InvalidRequest(f"{where}: must be {accepted}.", param=where)


def _is_marked(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    return FIELD in message or any(FIELD in part for part in _objects(message.get("content")))


def _objects(values: Any) -> Iterator[dict[str, Any]]:
    """Those of a list's values that are objects, {} for others; nothing for what is no list."""
    listed: Iterable[Any] = values if isinstance(values, list) else ()
    return (value if isinstance(value, dict) else {} for value in listed)
