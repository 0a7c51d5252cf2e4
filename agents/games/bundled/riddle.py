"""Twenty questions: the friend thinks of something, and code answers from its table of facts."""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from agents.games.answers import is_answer, plain, without_frame
from agents.games.bundled.things import Things
from agents.games.game import Secret, State, Turn

MAX_QUESTIONS = 20
MAX_GUESS = 40  # characters
_GUESS = re.compile(
    r"(?:is it|it is|it's|i (?:guess|think)(?: it'?s| it is)?|you are thinking of)\s+(?:an? |the )?(.+)"
)
_ANSWERS = {"yes": "Yes.", "no": "No.", "sometimes": "It depends: sometimes."}


class RiddleState(BaseModel):
    """A game of it; `asked` has each question's id and the answer."""

    secret: Secret
    asked: list[tuple[str, str]] = []
    guesses: list[str] = []

    @property
    def used(self) -> int:
        """Questions and guesses so far."""
        return len(self.asked) + len(self.guesses)


class Riddle:
    """The rules; see `agents.games.game.Game`."""

    id = "riddle"
    title = "Twenty questions: you guess"
    names = ("i guess", "you think of something", "think of something", "riddle", "twenty questions", "20 questions")
    rules = f"I think of something. Ask what can be answered with yes or no, {MAX_QUESTIONS} times, guesses included."

    def __init__(self, things: Things) -> None:
        self._things = things

    def start(self, rng: random.Random) -> Turn:
        """A thing is chosen and committed to."""
        state = RiddleState(secret=Secret.keep(rng.choice(sorted(self._things.known)), rng))
        message = (
            f"I am thinking of something (code {state.secret.code()}). You have {MAX_QUESTIONS} questions, yes or no."
        )
        return Turn(state.model_dump(), message)

    def play(self, state: State, text: str) -> Turn:
        """A guess, or a question."""
        game = RiddleState.model_validate(state)
        thing = self._named(text)
        if thing is not None:
            return self._guess(game, thing)
        question = self._things.find(text)
        if question is None:
            message = (
                "That I cannot answer with yes or no. Ask what it is like: alive, big, eaten, worn, used for what?"
            )
            return Turn(state, message, "refused" if text.strip().endswith("?") else "talk")
        earlier = dict(game.asked).get(question.id)
        if earlier is not None:
            message = f"You asked that: {question.text} {_ANSWERS[earlier]}"
            return Turn(state, message, "refused")
        truth = self._things.truth(game.secret.value, question.id)
        game.asked.append((question.id, truth))
        return self._next(game, f"{question.text} {_ANSWERS[truth]}")

    def give_up(self, state: State) -> str:
        """The thing is told."""
        return RiddleState.model_validate(state).secret.reveal()

    def view(self, state: State) -> Mapping[str, Any]:
        """What was asked and answered."""
        game = RiddleState.model_validate(state)
        answered = [{"question": self._things.question(id_).text, "answer": truth} for id_, truth in game.asked]
        return {
            "asked": answered,
            "guesses": game.guesses,
            "left": MAX_QUESTIONS - game.used,
            "commitment": game.secret.commitment,
        }

    def moves(self, state: State) -> Sequence[str]:
        """Some questions to begin with."""
        answered = dict(RiddleState.model_validate(state).asked)
        first = ("alive", "made", "animal", "edible", "hand", "house", "bigger")
        return [self._things.question(id_).text for id_ in first if id_ not in answered][:3]

    def _named(self, text: str) -> str | None:
        """The thing that somebody guesses: one that is known, or whatever stands where a guess does."""
        guess = without_frame(text)
        for thing in self._things.known:
            if guess == thing or guess == f"{thing}s":
                return thing
        match = _GUESS.fullmatch(text.strip().casefold().rstrip("?.!"))
        if match is None or self._things.find(text) is not None or len(match[1].split()) > 2:
            return None
        guessed = plain(match[1])[:MAX_GUESS]
        return next((thing for thing in self._things.known if is_answer(guessed, [thing])), guessed)

    def _guess(self, game: RiddleState, thing: str) -> Turn:
        if thing == game.secret.value:
            message = f"Yes! You found it with {game.used + 1} of {MAX_QUESTIONS}. {game.secret.reveal()}"
            game.guesses.append(thing)
            return Turn(game.model_dump(), message, result="won")
        game.guesses.append(thing)
        return self._next(game, f'No, it is not "{thing}".')

    def _next(self, game: RiddleState, message: str) -> Turn:
        left = MAX_QUESTIONS - game.used
        if not left:
            return Turn(game.model_dump(), f"{message} That was the last one. {game.secret.reveal()}", result="lost")
        return Turn(game.model_dump(), f"{message} {left} left.")
