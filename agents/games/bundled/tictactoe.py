"""Tic-tac-toe: the person is X and begins; the friend plays perfectly, or now and then not, so that it can be won."""

import random
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

from agents.games.answers import plain
from agents.games.game import Result, State, Turn, chance, draw_seed

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
CARELESS = 0.3  # how often the friend plays without thinking
_NAMES = {
    "top left": 0, "top": 1, "top middle": 1, "top right": 2, "left": 3, "middle left": 3, "middle": 4, "centre": 4,
    "center": 4, "right": 5, "middle right": 5, "bottom left": 6, "bottom": 7, "bottom middle": 7, "bottom right": 8,
}  # fmt: skip
_NUMBER = re.compile(r"(?:i take |take |place |field |square |x on |x at |on |at |number )*([1-9])")


class BoardState(BaseModel):
    """A game of it; `board` has nine of "X", "O" and " "."""

    seed: int
    board: str = " " * 9


class TicTacToe:
    """The rules; see `agents.games.game.Game`."""

    id = "tictactoe"
    title = "Tic-tac-toe"
    names = ("tic-tac-toe", "tic tac toe", "tictactoe", "noughts and crosses", "xo")
    rules = "You are X. Name a field from 1 (top left) to 9 (bottom right); three in a row win."

    def start(self, rng: random.Random) -> Turn:
        """An empty board."""
        state = BoardState(seed=draw_seed(rng))
        return Turn(state.model_dump(), f"You are X and begin.\n{_drawn(state.board)}\nWhich field, 1 to 9?")

    def play(self, state: State, text: str) -> Turn:
        """The person's field, then the friend's."""
        game = BoardState.model_validate(state)
        move = plain(text)
        number = _NUMBER.fullmatch(move)
        field = int(number[1]) - 1 if number else _NAMES.get(move.removeprefix("the "))
        if field is None:
            return Turn(state, f"{_drawn(game.board)}\nWhich field, 1 to 9?", "talk")
        if game.board[field] != " ":
            return Turn(state, f"Field {field + 1} is taken.\n{_drawn(game.board)}", "refused")
        game.board = _set(game.board, field, "X")
        if result := result_of(game.board):
            return self._end(game, result)
        own = self._own(game)
        game.board = _set(game.board, own, "O")
        if result := result_of(game.board):
            return self._end(game, result)
        return Turn(game.model_dump(), f"I take {own + 1}.\n{_drawn(game.board)}")

    def give_up(self, state: State) -> str:
        """The board stays as it is."""
        return "All right, we leave it there."

    def view(self, state: State) -> Mapping[str, Any]:
        """The board."""
        return {"board": list(BoardState.model_validate(state).board)}

    def moves(self, state: State) -> Sequence[str]:
        """The free fields."""
        return [str(field + 1) for field, each in enumerate(BoardState.model_validate(state).board) if each == " "]

    def _own(self, game: BoardState) -> int:
        rng = chance(game.seed, game.board.count("X"))
        free = [field for field in range(9) if game.board[field] == " "]
        if rng.random() < CARELESS:
            return rng.choice(free)
        scores = {field: value(_set(game.board, field, "O"), "X") for field in free}
        best = min(scores.values())
        return rng.choice([field for field in free if scores[field] == best])

    def _end(self, game: BoardState, result: Result) -> Turn:
        words = {"won": "Three in a row: you win!", "lost": "Three in a row for me.", "draw": "A draw, well played."}
        return Turn(game.model_dump(), f"{_drawn(game.board)}\n{words[result]}", result=result)


def result_of(board: str) -> Result | None:
    """How a board has ended for X; None: it has not."""
    for line in LINES:
        marks = {board[field] for field in line}
        if marks == {"X"}:
            return "won"
        if marks == {"O"}:
            return "lost"
    return None if " " in board else "draw"


@lru_cache(maxsize=6000)  # there are 5,478 boards
def value(board: str, turn: str) -> int:
    """What a board is worth to X with perfect play: 1, 0 or -1."""
    result = result_of(board)
    if result is not None:
        return {"won": 1, "lost": -1}.get(result, 0)
    other = "O" if turn == "X" else "X"
    values = [value(_set(board, field, turn), other) for field in range(9) if board[field] == " "]
    return max(values) if turn == "X" else min(values)


def _set(board: str, field: int, mark: str) -> str:
    return board[:field] + mark + board[field + 1 :]


def _drawn(board: str) -> str:
    shown = [mark if mark != " " else str(field + 1) for field, mark in enumerate(board)]
    return "\n".join(" ".join(shown[row : row + 3]) for row in (0, 3, 6))
