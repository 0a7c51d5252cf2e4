"""The games that there are; a new one is a line here."""

from collections.abc import Sequence

from agents.games.adventure import Adventure
from agents.games.chain import WordChain
from agents.games.game import Game
from agents.games.guess import Guess
from agents.games.hangman import Hangman
from agents.games.riddle import Riddle
from agents.games.things import read_things
from agents.games.tictactoe import TicTacToe
from agents.games.trivia import Trivia, read_questions
from agents.games.words import read_topics
from agents.games.world import read_world


def bundled_games() -> Sequence[Game]:
    """All of them, with their data read; raises ValueError where that is broken."""
    topics, things = read_topics(), read_things()
    return (
        Guess(things),
        Riddle(things),
        Hangman(topics),
        WordChain(topics),
        Trivia(read_questions()),
        TicTacToe(),
        Adventure(read_world()),
    )
