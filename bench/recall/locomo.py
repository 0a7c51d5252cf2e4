"""LoCoMo (Maharana et al., 2024): long conversations between two people, and questions with the turns that answer them.

Reads the published file (`locomo10.json`, a list) and the same with corrected labels (an object with `conversations`).
Categories 1 to 4 count; the fifth asks for what was never said. A picture in a turn is its caption. CC BY-NC: the data
is not part of this repository.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from memory.recall.corpus import Item

CATEGORIES = ("multi-hop", "temporal", "open-domain", "single-hop")  # 1 to 4
_TURN = re.compile(r"D\d+:\d+")


@dataclass(frozen=True)
class Question:
    """A question and the ids of the turns that answer it."""

    text: str
    category: str
    evidence: frozenset[str]


@dataclass(frozen=True)
class Conversation:
    """Turns of all sessions in order, and the questions that have evidence among them."""

    id: str
    turns: tuple[Item, ...]
    questions: tuple[Question, ...]

    @property
    def ends(self) -> datetime:
        """When the last session was."""
        return max(turn.at for turn in self.turns)


def read(path: Path) -> list[Conversation]:
    """The conversations of a file in either format."""
    data = orjson.loads(path.read_bytes())
    if isinstance(data, dict):
        return [_corrected(each) for each in data["conversations"]]
    return [_published(each) for each in data]


def _corrected(data: dict[str, Any]) -> Conversation:
    turns = []
    for session in data["sessions"]:
        at = _moment(session["date_time"])
        turns += [_turn(turn, turn["id"], turn.get("caption"), at, str(session["number"])) for turn in session["turns"]]
    questions = ((each["question"], each["category"], each["evidence"]) for each in data["questions"])
    return Conversation(data["id"], tuple(turns), tuple(_counted(questions, turns)))


def _published(data: dict[str, Any]) -> Conversation:
    sessions = data["conversation"]
    numbers = sorted(int(name.removeprefix("session_")) for name in sessions if re.fullmatch(r"session_\d+", name))
    turns = []
    for number in numbers:
        at = _moment(sessions[f"session_{number}_date_time"])
        session = sessions[f"session_{number}"]
        turns += [_turn(turn, turn["dia_id"], turn.get("blip_caption"), at, str(number)) for turn in session]
    questions = (
        (each["question"], CATEGORIES[each["category"] - 1], _TURN.findall(" ".join(each["evidence"])))
        for each in data["qa"]
        if each["category"] <= len(CATEGORIES)
    )
    return Conversation(data["sample_id"], tuple(turns), tuple(_counted(questions, turns)))


def _turn(data: dict[str, Any], id_: str, caption: str | None, at: datetime, session: str) -> Item:
    text = f"{data['text']} [{caption}]" if caption else data["text"]
    return Item(id_, "turn", text, at, data["speaker"], session)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)


def _counted(questions: Iterator[tuple[str, str, list[str]]], turns: list[Item]) -> Iterator[Question]:
    known = {turn.id for turn in turns}
    for text, category, evidence in questions:
        found = frozenset(evidence) & known
        if category in CATEGORIES and found:
            yield Question(text, category, found)
