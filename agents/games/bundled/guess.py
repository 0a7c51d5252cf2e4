"""Twenty questions: the person thinks of something, and the friend asks.

It asks the question that best halves the remaining weight (the expected information), and tolerates a wrong answer:
each answer leaves every thing some weight. It guesses when one thing has most of the weight.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from agents.games.answers import NO, UNSURE, YES
from agents.games.bundled.things import Things
from agents.games.game import State, Turn, chance, draw_seed

MAX_QUESTIONS = 20
MIN_INFORMATION = 0.01  # bits that a question must be expected to bring
SURE = 0.7  # of the weight: then it guesses
FITS = {"yes": 0.95, "sometimes": 0.5, "no": 0.05}  # how likely a person says yes, by what is true of the thing
Reply = Literal["yes", "no", "unsure"]


class GuessState(BaseModel):
    """A game of it; `open` is what the person is asked: a question's id, or `=` and a thing."""

    seed: int
    answers: list[tuple[str, Reply]] = []
    open: str = ""

    @property
    def used(self) -> int:
        """Questions and guesses that were answered."""
        return len(self.answers)


class Guess:
    """The rules; see `agents.games.game.Game`."""

    id = "guess"
    title = "Twenty questions: I guess"
    names = ("you guess", "i think of something", "guess what i", "read my mind")
    rules = "Think of a thing or an animal. I ask, and you say yes, no, or that it depends."

    def __init__(self, things: Things) -> None:
        self._things = things

    def start(self, rng: random.Random) -> Turn:
        """The first question."""
        game = GuessState(seed=draw_seed(rng))
        return self._ask(game, "Think of a thing or an animal, and do not tell me.")

    def play(self, state: State, text: str) -> Turn:
        """An answer, then the next question or a guess."""
        game = GuessState.model_validate(state)
        reply = _reply_of(text)
        if reply is None:
            return Turn(state, f"{self._words(game.open)} Yes, no, or it depends?", "talk")
        if game.open.startswith("=") and reply == "yes":
            return Turn(game.model_dump(), f"I knew it, with {game.used + 1} questions!", result="lost")
        game.answers.append((game.open, reply))
        if game.used >= MAX_QUESTIONS:
            return Turn(game.model_dump(), "I give up, you win! What was it?", result="won")
        return self._ask(game, "")

    def give_up(self, state: State) -> str:
        """The friend would have liked to know."""
        return "All right. I would have liked to find out!"

    def view(self, state: State) -> Mapping[str, Any]:
        """What was asked."""
        game = GuessState.model_validate(state)
        answered = [{"question": self._words(open_), "answer": reply} for open_, reply in game.answers]
        return {"asked": answered, "question": self._words(game.open), "left": MAX_QUESTIONS - game.used}

    def moves(self, state: State) -> Sequence[str]:
        """The three answers."""
        return ("yes", "no", "it depends")

    def _ask(self, game: GuessState, message: str) -> Turn:
        weights = self._weights(game)
        best = max(weights, key=lambda thing: weights[thing])
        asked_ids = {open_ for open_, _ in game.answers}
        question = self._best_question(game, weights, asked_ids)
        is_last = game.used == MAX_QUESTIONS - 1
        game.open = f"={best}" if question is None or weights[best] >= SURE or is_last else question
        return Turn(game.model_dump(), f"{message} {self._words(game.open)}".strip())

    def _weights(self, game: GuessState) -> dict[str, float]:
        weights = dict.fromkeys(self._things.known, 1.0)
        for open_, reply in game.answers:
            if open_.startswith("="):
                weights[open_[1:]] *= 1e-6 if reply == "no" else 1.0
                continue
            if reply == "unsure":
                continue
            for thing in weights:
                yes = FITS[self._things.truth(thing, open_)]
                weights[thing] *= yes if reply == "yes" else 1 - yes
        total = sum(weights.values())
        return {thing: weight / total for thing, weight in weights.items()}

    def _best_question(self, game: GuessState, weights: Mapping[str, float], asked_ids: set[str]) -> str | None:
        def information(id_: str) -> float:
            yes = sum(weight * FITS[self._things.truth(thing, id_)] for thing, weight in weights.items())
            noise = sum(weight * _entropy(FITS[self._things.truth(thing, id_)]) for thing, weight in weights.items())
            return _entropy(yes) - noise

        rng = chance(game.seed, game.used)
        free = [
            (information(each.id), rng.random(), each.id) for each in self._things.questions if each.id not in asked_ids
        ]
        return max(free)[2] if free and max(free)[0] > MIN_INFORMATION else None

    def _words(self, open_: str) -> str:
        if open_.startswith("="):
            thing = open_[1:]
            article = "" if thing in _WITHOUT else "an " if thing[0] in "aeiou" else "a "
            return f"Is it {article}{thing}?"
        return self._things.question(open_).text


_WITHOUT = frozenset(
    ["rice", "bread", "cheese", "chocolate", "ice cream", "tea", "milk", "honey", "rain", "snow", "fire", "grass"]
)


def _reply_of(text: str) -> Reply | None:
    answer = text.strip()
    if UNSURE.match(answer):
        return "unsure"
    if YES.match(answer):
        return "yes"
    return "no" if NO.match(answer) else None


def _entropy(yes: float) -> float:
    return -sum(each * math.log2(each) for each in (yes, 1 - yes) if each > 0)
