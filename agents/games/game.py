"""The interface of a game: the state is plain JSON, a move is text, and each move makes a turn.

All randomness comes from the seed in the state, so the same moves give the same game. A secret uses a commitment: its
SHA-256 with a nonce is shown at the start, both are revealed at the end, so anyone can check that the secret did not
change. This module does not know people, models, or where states are stored.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import BaseModel

State = dict[str, Any]
Result = Literal["won", "lost", "draw", "ended"]  # as the person sees it
Reading = Literal[
    "move",
    "refused",  # meant as a move, but against the rules
    "talk",  # no move at all: somebody may answer it, the game waits
]
SHOWN_DIGITS = 16


class Secret(BaseModel):
    """A value that is hidden until the end of the game; `commitment` is shown before."""

    value: str
    nonce: str
    commitment: str

    @classmethod
    def keep(cls, value: str, rng: random.Random) -> "Secret":
        """Commit to a value."""
        nonce = f"{rng.getrandbits(128):032x}"
        return cls(value=value, nonce=nonce, commitment=commitment_of(value, nonce))

    def reveal(self) -> str:
        """The text that reveals the value, so that it can be checked."""
        return f'It was "{self.value}". (SHA-256 of "{self.nonce}:{self.value}" begins with the code from the start.)'

    def code(self) -> str:
        """The beginning of the commitment, short enough for a message."""
        return self.commitment[:SHOWN_DIGITS]


def commitment_of(value: str, nonce: str) -> str:
    """The commitment to a value, as shown."""
    return hashlib.sha256(f"{nonce}:{value}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Turn:
    """The result of a move: the new state, the referee's text, and the outcome if the game has ended."""

    state: State
    message: str
    reading: Reading = "move"
    result: Result | None = None


class Game(Protocol):
    """The rules of one game."""

    @property
    def id(self) -> str:
        """Its id, e.g. `hangman`."""

    @property
    def title(self) -> str:
        """What people call it."""

    @property
    def names(self) -> Sequence[str]:
        """Words that ask for this game, in lower case."""

    @property
    def rules(self) -> str:
        """The rules in one or two sentences."""

    def start(self, rng: random.Random) -> Turn:
        """A new game: its first state, and the referee's opening text."""

    def play(self, state: State, text: str) -> Turn:
        """Play the person's text as a move; the given state is not changed."""

    def give_up(self, state: State) -> str:
        """The text when the person gives up."""

    def view(self, state: State) -> Mapping[str, Any]:
        """The visible part of a state, without secrets."""

    def moves(self, state: State) -> Sequence[str]:
        """Moves to offer as buttons, not necessarily all."""


def chance(seed: int, turn: int) -> random.Random:
    """The random numbers of one turn of a game."""
    return random.Random(f"{seed}:{turn}")  # noqa: S311 - a game, no secret


def draw_seed(rng: random.Random) -> int:
    """The seed of a new game."""
    return rng.getrandbits(48)
