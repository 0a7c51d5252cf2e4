"""Hangman: letters of a hidden word, six wrong ones at most."""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from agents.games.answers import plain
from agents.games.game import Secret, State, Turn

MAX_WRONG = 6
MIN_WORD, MAX_WORD = 5, 10
_LETTER = re.compile(r"(?:(?:the )?letter |is there an? |an? |i guess |guess )?([a-z])[.!?]*")
_WORD = re.compile(r"(?:the word is |is it |it is |i guess |guess )?([a-z]{2,20})[.!?]*")


class HangmanState(BaseModel):
    """A game of it."""

    secret: Secret
    topic: str
    tried: list[str] = []
    wrong: int = 0

    def shown(self) -> str:
        """The word with what is not known yet as underscores."""
        return " ".join(each if each in self.tried else "_" for each in self.secret.value)


class Hangman:
    """The rules; see `agents.games.game.Game`."""

    id = "hangman"
    title = "Hangman"
    names = ("hangman", "hang man", "letters")
    rules = f"Name a letter at a time, or the word. {MAX_WRONG} wrong ones and it is over."

    def __init__(self, topics: Mapping[str, Sequence[str]]) -> None:
        self._words = [
            (topic, word) for topic, words in topics.items() for word in words if MIN_WORD <= len(word) <= MAX_WORD
        ]

    def start(self, rng: random.Random) -> Turn:
        """A word is chosen and committed to."""
        topic, word = rng.choice(self._words)
        state = HangmanState(secret=Secret.keep(word, rng), topic=topic)
        message = (
            f"I have a word of {len(word)} letters, from: {topic} (code {state.secret.code()}). {state.shown()}  Which?"
        )
        return Turn(state.model_dump(), message)

    def play(self, state: State, text: str) -> Turn:
        """A letter, or the whole word."""
        game = HangmanState.model_validate(state)
        guess = plain(text)
        letter, word = _LETTER.fullmatch(guess), _WORD.fullmatch(guess)
        if letter:
            return self._letter(game, letter[1])
        if word and (len(word[1]) == len(game.secret.value) or word[0] != word[1]):
            return self._word(game, word[1])
        return Turn(state, f"{game.shown()}  Which letter?", "talk")

    def give_up(self, state: State) -> str:
        """The word is told."""
        return HangmanState.model_validate(state).secret.reveal()

    def view(self, state: State) -> Mapping[str, Any]:
        """The known letters."""
        game = HangmanState.model_validate(state)
        return {
            "word": game.shown(),
            "topic": game.topic,
            "tried": game.tried,
            "wrong": game.wrong,
            "max_wrong": MAX_WRONG,
            "commitment": game.secret.commitment,
        }

    def moves(self, state: State) -> Sequence[str]:
        """Letters that are often right and were not tried."""
        tried = HangmanState.model_validate(state).tried
        return [letter for letter in "eariotnslc" if letter not in tried][:5]

    def _letter(self, game: HangmanState, letter: str) -> Turn:
        if letter in game.tried:
            return Turn(game.model_dump(), f"You had {letter} before. {game.shown()}", "refused")
        game.tried.append(letter)
        count = game.secret.value.count(letter)
        if not count:
            return self._miss(game, f"No {letter}.")
        if "_" not in game.shown():
            return Turn(game.model_dump(), f"That is all of it, you win! {game.secret.reveal()}", result="won")
        times = "once" if count == 1 else f"{count} times"
        return Turn(game.model_dump(), f"Yes, {letter} is in it {times}. {game.shown()}")

    def _word(self, game: HangmanState, word: str) -> Turn:
        if word == game.secret.value:
            game.tried += [each for each in word if each not in game.tried]
            return Turn(game.model_dump(), f"Yes, you win! {game.secret.reveal()}", result="won")
        return self._miss(game, f'It is not "{word}".')

    def _miss(self, game: HangmanState, message: str) -> Turn:
        game.wrong += 1
        if game.wrong >= MAX_WRONG:
            return Turn(game.model_dump(), f"{message} That was the last try. {game.secret.reveal()}", result="lost")
        left = MAX_WRONG - game.wrong
        return Turn(game.model_dump(), f"{message} {game.shown()}  {left} wrong {'one' if left == 1 else 'ones'} left.")
