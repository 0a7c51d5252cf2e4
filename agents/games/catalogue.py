"""The list of games; a new game is a line here."""

from collections.abc import Sequence

from agents.games.bundled.adventure import Adventure
from agents.games.bundled.chain import WordChain
from agents.games.bundled.guess import Guess
from agents.games.bundled.hangman import Hangman
from agents.games.bundled.riddle import Riddle
from agents.games.bundled.things import read_things
from agents.games.bundled.tictactoe import TicTacToe
from agents.games.bundled.trivia import Trivia, read_questions
from agents.games.bundled.words import read_topics
from agents.games.bundled.world import read_world
from agents.games.game import Game


def bundled_games() -> Sequence[Game]:
    """All games with their data; raises ValueError if the data is invalid."""
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
