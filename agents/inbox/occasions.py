"""Occasions for a message: events that the person planned, and painful ones; each once.

Also what the friend asks a person who returns (`greeting_lines`). Sentences are written, not generated. A message in an
inbox does not name what is sensitive or painful. This module does not know whether a message is allowed now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from agents.fence import flat
from storage.memory.memories import MemoryRecord

BEFORE, AFTER = timedelta(hours=24), timedelta(hours=36)
PAINFUL_AFTER, PAINFUL_UNTIL = timedelta(days=2), timedelta(days=5)
MAX_QUOTED = 160
LOOKED_BACK, MAX_LOOKED_BACK = timedelta(days=14), 50  # for who was away


@dataclass(frozen=True, slots=True)
class Occasion:
    """A reason for a message; each `key` is used once."""

    key: str
    kind: str
    text: str
    why: str


def occasions_of(memories: Sequence[MemoryRecord], *, now: datetime, zone: tzinfo | None) -> list[Occasion]:
    """The occasions now, the most pressing first, without muted and outdated memories."""
    held = [each for each in memories if not each.muted and each.superseded_by is None and each.kind != "summary"]
    found = []
    for memory in held:
        at = memory.event_at
        if memory.painful_at is not None:
            if PAINFUL_AFTER <= now - memory.painful_at <= PAINFUL_UNTIL:
                text = "I have been thinking of you since what you told me. How are you?"
                found.append(Occasion(f"painful:{memory.id}", "painful", text, "something that you told me"))
        elif at is not None and memory.created_at < at and at - BEFORE <= now < at:
            found.append(Occasion(f"before:{memory.id}", "planned", _ahead(memory, at, now, zone), _why(memory)))
        elif at is not None and memory.created_at < at and at <= now <= at + AFTER:
            text = f"How did it go? You had told me: {_quoted(memory)}"
            found.append(Occasion(f"after:{memory.id}", "planned", text, _why(memory)))
    return sorted(found, key=lambda each: each.kind != "planned")


def greeting_lines(memories: Sequence[MemoryRecord], *, since: datetime, now: datetime) -> list[tuple[str, str]]:
    """Prompt lines about a person who returns, with their keys: what was planned meanwhile, what hurt before."""
    found = []
    for memory in memories:
        if memory.muted or memory.superseded_by is not None or memory.kind == "summary":
            continue
        at = memory.event_at
        if memory.painful_at is not None and now - memory.painful_at <= timedelta(days=14):
            found.append(
                (f"greet:{memory.id}", f"It was painful for them: {flat(memory.text)} Ask gently how they are.")
            )
        elif at is not None and memory.created_at < at and since - BEFORE <= at <= now:
            found.append((f"greet:{memory.id}", f"Meanwhile it was to happen: {flat(memory.text)} Ask how it went."))
    return found


def _ahead(memory: MemoryRecord, at: datetime, now: datetime, zone: tzinfo | None) -> str:
    is_today = at.astimezone(zone).date() == now.astimezone(zone).date()
    return f"{'Today' if is_today else 'Tomorrow'} it is: {_quoted(memory)} I hope it goes well."


def _quoted(memory: MemoryRecord) -> str:
    return "what you planned." if memory.sensitivity == "sensitive" else flat(memory.text)[:MAX_QUOTED]


def _why(memory: MemoryRecord) -> str:
    return "something that you planned" if memory.sensitivity == "sensitive" else flat(memory.text)[:MAX_QUOTED]
