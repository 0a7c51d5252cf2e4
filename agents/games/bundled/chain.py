"""Word chain: each word begins with the last letter of the one before, and no word is used twice.

For a word that is not in the list, the game asks once; saying it again confirms it, for half a point. The game ends
after ten words each, and is lost after three words against the rules.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from agents.games.answers import plain
from agents.games.bundled.words import MIN_LETTERS
from agents.games.game import State, Turn, chance, draw_seed

ROUNDS = 10
MAX_MISSES = 3
_WORD = re.compile(r"(?:my word is |i say |how about |what about |then )?([a-z]{1,30})")


class ChainState(BaseModel):
    """A game of it; `doubted` is the word that was asked about."""

    seed: int
    used: list[str]
    said: int = 0
    points: float = 0
    misses: int = 0
    doubted: str = ""


class WordChain:
    """The rules; see `agents.games.game.Game`."""

    id = "chain"
    title = "Word chain"
    names = ("word chain", "chain", "wordchain", "last letter", "shiritori")
    rules = f"Say a word that begins with the last letter of mine, of {MIN_LETTERS} letters at least, none twice."

    def __init__(self, topics: Mapping[str, Sequence[str]]) -> None:
        words = {word for words in topics.values() for word in words if len(word) >= MIN_LETTERS}
        self._known = frozenset(words)
        self._by_letter: dict[str, list[str]] = {}
        for word in sorted(words):
            self._by_letter.setdefault(word[0], []).append(word)

    def start(self, rng: random.Random) -> Turn:
        """The first word is the friend's."""
        word = rng.choice(sorted(self._known))
        state = ChainState(seed=draw_seed(rng), used=[word])
        return Turn(state.model_dump(), f'I begin: "{word}". Your word begins with {word[-1]}.')

    def play(self, state: State, text: str) -> Turn:
        """The person's word, then the friend's."""
        game = ChainState.model_validate(state)
        match = _WORD.fullmatch(plain(text))
        last = game.used[-1]
        if match is None:
            return Turn(state, f'The word is "{last}": yours begins with {last[-1]}.', "talk")
        word = match[1]
        if word[0] != last[-1]:
            return self._miss(game, f'"{word}" does not begin with {last[-1]}.')
        if len(word) < MIN_LETTERS:
            return self._miss(game, f'"{word}" is too short.')
        if word in game.used:
            return self._miss(game, f'"{word}" was said before.')
        if word not in self._known and word != game.doubted:
            game.doubted = word
            return Turn(game.model_dump(), f'I do not know "{word}". If you are sure, say it again.', "refused")
        game.points += 1 if word in self._known else 0.5
        game.used.append(word)
        game.said += 1
        return self._answer(game, word)

    def give_up(self, state: State) -> str:
        """The points are told."""
        game = ChainState.model_validate(state)
        return f"We made a chain of {len(game.used)} words; you have {game.points:g} points."

    def view(self, state: State) -> Mapping[str, Any]:
        """The chain so far."""
        game = ChainState.model_validate(state)
        shown = {"chain": game.used[-8:], "next_letter": game.used[-1][-1]}
        return shown | {"points": game.points, "misses": game.misses, "round": game.said + 1, "rounds": ROUNDS}

    def moves(self, state: State) -> Sequence[str]:
        """None: a word offered is a word taken."""
        return ()

    def _answer(self, game: ChainState, word: str) -> Turn:
        if game.said >= ROUNDS:
            return Turn(game.model_dump(), f"That was the last round. {self.give_up(game.model_dump())}", result="won")
        free = [each for each in self._by_letter.get(word[-1], ()) if each not in game.used]
        if not free:
            message = f"I have no word left with {word[-1]}: you win, with {game.points:g} points!"
            return Turn(game.model_dump(), message, result="won")
        own = chance(game.seed, game.said).choice(free)
        game.used.append(own)
        return Turn(game.model_dump(), f'"{own}". Your word begins with {own[-1]}.')

    def _miss(self, game: ChainState, message: str) -> Turn:
        game.misses += 1
        game.doubted = ""
        if game.misses >= MAX_MISSES:
            return Turn(
                game.model_dump(),
                f"{message} That was the third slip. {self.give_up(game.model_dump())}",
                result="lost",
            )
        return Turn(game.model_dump(), f"{message} Another word with {game.used[-1][-1]}?", "refused")
