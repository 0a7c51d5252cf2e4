"""Trivia: five questions of one's own list, each with where its answer can be checked."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from agents.games.answers import is_answer
from agents.games.bundled.words import DATA
from agents.games.game import State, Turn

ROUNDS = 5
MAX_WORDS = 8  # of an answer; what is longer, or a question back, is talk
_PASS = re.compile(r"(?:pass|skip|next|i (?:don'?t|do not) know|no idea|dunno|idk)\b.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """A question; the first of its answers is the one that is told. `source` is a page of Wikipedia."""

    text: str
    answers: Sequence[str]
    topic: str
    level: int
    source: str

    @property
    def url(self) -> str:
        """Where its source is."""
        return f"https://en.wikipedia.org/wiki/{quote(self.source.replace(' ', '_'))}"


class TriviaState(BaseModel):
    """A game of it: the questions by their number in the list."""

    asked: list[int]
    place: int = 0
    right: int = 0


class Trivia:
    """The rules; see `agents.games.game.Game`."""

    id = "trivia"
    title = "Trivia"
    names = ("trivia", "quiz", "questions", "general knowledge")
    rules = f'{ROUNDS} questions. Answer in a word or two, or say "pass".'

    def __init__(self, questions: Sequence[Question]) -> None:
        self._questions = questions

    def start(self, rng: random.Random) -> Turn:
        """Questions of different topics are drawn, the easier first."""
        topics = sorted({each.topic for each in self._questions})
        chosen = rng.sample(topics, min(ROUNDS, len(topics)))
        places = [
            rng.choice([place for place, each in enumerate(self._questions) if each.topic == topic]) for topic in chosen
        ]
        places.sort(key=lambda place: self._questions[place].level)
        state = TriviaState(asked=places)
        return Turn(state.model_dump(), f"{len(places)} questions. The first: {self._questions[places[0]].text}")

    def play(self, state: State, text: str) -> Turn:
        """An answer, then the next question."""
        game = TriviaState.model_validate(state)
        question = self._questions[game.asked[game.place]]
        is_right = is_answer(text, question.answers)
        if not is_right and not _PASS.fullmatch(text.strip()) and (text.strip().endswith("?") or _is_long(text)):
            return Turn(state, question.text, "talk")
        game.right += is_right
        game.place += 1
        verdict = "Right!" if is_right else f"It is {question.answers[0]}."
        feedback = f"{verdict} (Check: {question.url})"
        if game.place == len(game.asked):
            score = f"You had {game.right} of {len(game.asked)}."
            return Turn(
                game.model_dump(), f"{feedback} {score}", result="won" if game.right * 2 > game.place else "lost"
            )
        return Turn(game.model_dump(), f"{feedback} Next: {self._questions[game.asked[game.place]].text}")

    def give_up(self, state: State) -> str:
        """The answer that was looked for is told."""
        game = TriviaState.model_validate(state)
        question = self._questions[game.asked[game.place]]
        return f"It was {question.answers[0]}. You had {game.right} of {game.place}."

    def view(self, state: State) -> Mapping[str, Any]:
        """The question, not its answer."""
        game = TriviaState.model_validate(state)
        shown: dict[str, Any] = {"right": game.right, "rounds": len(game.asked), "round": game.place + 1}
        if game.place < len(game.asked):
            question = self._questions[game.asked[game.place]]
            shown |= {"question": question.text, "topic": question.topic}
        return shown

    def moves(self, state: State) -> Sequence[str]:
        """One can always pass."""
        return ("pass",)


def read_questions(path: Path = DATA / "trivia.tsv") -> Sequence[Question]:
    """The list; raises ValueError on a line that is none."""
    questions = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line:
            continue
        text, answers, topic, level, source = line.split("\t")
        questions.append(Question(text, answers.split("|"), topic, int(level), source))
    return questions


def _is_long(text: str) -> bool:
    return len(text.split()) > MAX_WORDS
