"""Redacts a conversation for an external model: all of it, or what is left without its private parts.

Private is what the client marked (`serving.privacy.markers`), what the detector finds in messages of people, models and
tools, and what cannot be analysed (images, audio, files). A system prompt is the application's own text: only markers
count there. With a user message its answers are removed, and with one side of a tool call the other, because half of
either would reveal the rest, and providers refuse half a tool call. What remains must still be the question: the last
user message (without marked parts), the last message, and a system prompt if there was one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from serving.privacy.detector import Detect
from serving.privacy.markers import mark_of, unmarked

MEDIA = "media"
_TEXTS = ("text", "refusal")  # types of text parts, and their fields
_PROMPTS = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Redacted:
    """What may be sent.

    `messages` is None if no question would be left. `kept` are the classes of private content in `messages`,
    `withheld` those of what was removed.
    """

    messages: Any
    kept: frozenset[str]
    withheld: frozenset[str]


@dataclass(slots=True)
class _Analysed:
    """A message: the classes found in it, the markers of its parts, and the message without marked parts."""

    role: Any
    message: dict[str, Any]
    found: frozenset[str]
    marks: frozenset[str]
    rest: dict[str, Any] | None

    @property
    def drops(self) -> bool:
        return bool(self.found) or self.rest is None


def redact(messages: Any, detect: Detect, *, allow_sensitive: bool) -> Redacted:
    """Redact messages whose markers have been checked; anything but a list of objects is returned unchanged."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return Redacted(messages, frozenset(), frozenset())
    analysed = [_analyse(message, detect) for message in messages]
    classes = frozenset().union(*(item.found | item.marks for item in analysed))
    last_user = next((index for index in range(len(analysed) - 1, -1, -1) if analysed[index].role == "user"), None)
    if allow_sensitive or not classes:
        return Redacted([unmarked(message) for message in messages], classes, frozenset())
    dropped = {index for index, item in enumerate(analysed) if item.drops}
    dropped |= {index for first in dropped if analysed[first].role == "user" for index in _answers(analysed, first)}
    dropped |= _other_halves(analysed, dropped)
    prompts = {index for index, item in enumerate(analysed) if item.role in _PROMPTS}
    lost = last_user is None or {last_user, len(analysed) - 1} & dropped or (prompts and prompts <= dropped)
    rest = [unmarked(item.rest) for index, item in enumerate(analysed) if index not in dropped]
    return Redacted(None if lost else rest, frozenset(), classes)


def _analyse(message: dict[str, Any], detect: Detect) -> _Analysed:
    role, content = message.get("role"), message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    marks = frozenset(mark for part in parts if isinstance(part, dict) and (mark := mark_of(part)))
    open_parts = [part for part in parts if not (isinstance(part, dict) and mark_of(part))]
    found = {mark} if (mark := mark_of(message)) else set()
    if role not in _PROMPTS:
        found |= detect("\n".join(_texts(open_parts, message)))
    if any(isinstance(part, dict) and part.get("type") not in _TEXTS for part in open_parts):
        found.add(MEDIA)
    rest: dict[str, Any] | None = message
    if marks:
        rest = {**message, "content": open_parts} if open_parts else None
    return _Analysed(role, message, frozenset(found), marks, rest)


def _texts(parts: list[Any], message: dict[str, Any]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, dict):
            yield from (part[field] for field in _TEXTS if isinstance(part.get(field), str))
    calls = message.get("tool_calls")
    for tool_call in calls if isinstance(calls, list) else ():
        function = tool_call.get("function") if isinstance(tool_call, dict) else None
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(arguments, str):
            yield arguments


def _answers(analysed: list[_Analysed], first: int) -> Iterator[int]:
    """The messages after a user message, up to the next one."""
    for index in range(first + 1, len(analysed)):
        if analysed[index].role == "user":
            return
        if analysed[index].role not in _PROMPTS:
            yield index


def _other_halves(analysed: list[_Analysed], dropped: set[int]) -> set[int]:
    """Tool calls whose results are dropped, and results of dropped tool calls."""
    made_by: dict[Any, int] = {}
    results: dict[int, set[int]] = {}
    for index, item in enumerate(analysed):
        calls = item.message.get("tool_calls")
        if item.role == "assistant" and isinstance(calls, list):
            made_by |= {str(tool_call.get("id")): index for tool_call in calls if isinstance(tool_call, dict)}
        elif item.role == "tool" and (maker := made_by.get(str(item.message.get("tool_call_id")))) is not None:
            results.setdefault(maker, set()).add(index)
    halves = {maker for maker, indices in results.items() if maker in dropped or indices & dropped}
    return halves.union(*(results[maker] for maker in halves))
