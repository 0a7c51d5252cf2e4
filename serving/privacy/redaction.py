"""What of a conversation may leave: everything, or what is left when its private parts are taken out.

Private is what its sender marked (`serving.privacy.markers`), what the detector finds in the words of people, models
and tools, and what cannot be read (images, sound, files). A system prompt is the application's own words: only marks
count there. With a person's message goes the answer to it, with one side of a tool call the other: half of either would
tell of the rest, and Gemini refuses half a tool call. What remains must still be the question that was asked: the last
user message but for its marked parts, the last message, and a system prompt where there was one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from serving.privacy.detector import Detect
from serving.privacy.markers import mark_of, unmarked

MEDIA = "media"
_TEXTS = ("text", "refusal")  # types of parts that are texts, and the fields that hold them
_PROMPTS = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Redacted:
    """What may leave.

    `messages` None: nothing, for no question would be left. `kept` are the classes of private things in `messages`,
    `withheld` of those that are not.
    """

    messages: Any
    kept: frozenset[str]
    withheld: frozenset[str]


@dataclass(slots=True)
class _Seen:
    """A message: what is found in it as a whole, what its parts are marked as, and what is left without those."""

    role: Any
    message: dict[str, Any]
    found: frozenset[str]
    marks: frozenset[str]
    rest: dict[str, Any] | None

    @property
    def drops(self) -> bool:
        return bool(self.found) or self.rest is None


def redact(messages: Any, detect: Detect, *, allow_sensitive: bool) -> Redacted:
    """Sort out a request's messages, whose marks have been checked; what is no list of objects is left as it is."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        return Redacted(messages, frozenset(), frozenset())
    seen = [_look(message, detect) for message in messages]
    classes = frozenset().union(*(each.found | each.marks for each in seen))
    last_user = next((index for index in range(len(seen) - 1, -1, -1) if seen[index].role == "user"), None)
    if allow_sensitive or not classes:
        return Redacted([unmarked(message) for message in messages], classes, frozenset())
    dropped = {index for index, each in enumerate(seen) if each.drops}
    dropped |= {index for first in dropped if seen[first].role == "user" for index in _answers(seen, first)}
    dropped |= _other_halves(seen, dropped)
    prompts = {index for index, each in enumerate(seen) if each.role in _PROMPTS}
    lost = last_user is None or {last_user, len(seen) - 1} & dropped or (prompts and prompts <= dropped)
    rest = [unmarked(each.rest) for index, each in enumerate(seen) if index not in dropped]
    return Redacted(None if lost else rest, frozenset(), classes)


def _look(message: dict[str, Any], detect: Detect) -> _Seen:
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
    return _Seen(role, message, frozenset(found), marks, rest)


def _texts(parts: list[Any], message: dict[str, Any]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, dict):
            yield from (part[field] for field in _TEXTS if isinstance(part.get(field), str))
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        arguments = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(arguments, str):
            yield arguments


def _answers(seen: list[_Seen], first: int) -> Iterator[int]:
    """What follows a person's message, up to the next one."""
    for index in range(first + 1, len(seen)):
        if seen[index].role == "user":
            return
        if seen[index].role not in _PROMPTS:
            yield index


def _other_halves(seen: list[_Seen], dropped: set[int]) -> set[int]:
    """The tool calls whose results are dropped, and all results of dropped tool calls."""
    made_by: dict[Any, int] = {}
    results: dict[int, set[int]] = {}
    for index, each in enumerate(seen):
        calls = each.message.get("tool_calls")
        if each.role == "assistant" and isinstance(calls, list):
            made_by |= {str(call.get("id")): index for call in calls if isinstance(call, dict)}
        elif each.role == "tool" and (maker := made_by.get(str(each.message.get("tool_call_id")))) is not None:
            results.setdefault(maker, set()).add(index)
    halves = {maker for maker, told in results.items() if maker in dropped or told & dropped}
    return halves.union(*(results[maker] for maker in halves))
