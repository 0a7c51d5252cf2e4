"""Where a prompt tells of a person's past, and that it leaves for no model outside."""

from datetime import UTC, datetime
from typing import Any

import pytest

from serving.chat_memory.prompt import INTRODUCTION, fitting, with_past
from serving.privacy.markers import check_marks
from serving.privacy.redaction import redact
from storage.memory.memories import MemoryRecord
from storage.memory.people import Profile

PERSONA = {"role": "system", "content": "Be kind."}
TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "What now?"},
]
PROFILE, RECALLED = ["They are called Asha."], ["From before:", "- Has a parrot"]


def texts(message: dict[str, Any]) -> list[str]:
    """Return the texts of a message's parts."""
    return [part["text"] for part in message["content"]]


def test_what_changes_least_comes_first() -> None:
    """Persona, what to make of the rest, profile, what was recalled; then the turns as they came."""
    prompt, *turns = with_past([PERSONA, *TURNS], PROFILE, RECALLED, place="system")
    assert texts(prompt) == ["Be kind.", INTRODUCTION, PROFILE[0], "\n".join(RECALLED)]
    assert turns == TURNS


def test_it_may_stand_with_the_question() -> None:
    """Then all before the last message of the person's is the same whatever was recalled."""
    messages = with_past([PERSONA, *TURNS], PROFILE, RECALLED, place="question")
    assert messages[:-1] == with_past([PERSONA, *TURNS], PROFILE, ["- Other"], place="question")[:-1]
    assert texts(messages[-1]) == ["\n".join(RECALLED), "What now?"]


@pytest.mark.parametrize("place", ["system", "question"])
@pytest.mark.parametrize("before", [[PERSONA], []])
def test_only_the_rest_leaves(before: list[Any], place: Any) -> None:
    """For a model outside the past is taken out, and the question is still the one that was asked."""
    messages = with_past([*before, *TURNS], PROFILE, RECALLED, place=place)
    check_marks(messages)
    redacted = redact(messages, lambda _: frozenset(), allow_sensitive=False)
    assert redacted.withheld == {"memory"}
    assert "Asha" not in str(redacted.messages)
    assert "parrot" not in str(redacted.messages)
    assert "What now?" in str(redacted.messages[-1])


def test_nothing_to_tell_changes_nothing() -> None:
    """Somebody new is asked for as they asked."""
    assert with_past(TURNS, [], [], place="system") == TURNS


def test_profile_and_pinned_keep_to_their_budget() -> None:
    """The name always stays; a detail or memory that is too long makes room for a later one."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    pinned = [
        MemoryRecord(text=text, id=text[:3], changed_in=1, created_at=at, updated_at=at)
        for text in ("word " * 50, "Has a dog", "Has a cat")
    ]
    profile = Profile("Ann", {"essay": "word " * 50, "job": "baker"})
    details, shown = fitting(profile, pinned, 14, lambda line: len(line.split()))
    assert (details.name, details.details) == ("Ann", {"job": "baker"})
    assert [each.text for each in shown] == ["Has a dog"]
    assert fitting(profile, pinned, 0, lambda line: len(line.split())) == (Profile("Ann", {}), [])
