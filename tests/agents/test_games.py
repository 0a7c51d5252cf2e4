"""Each game by itself: rules hold whatever is written, secrets stay until the end and are what they were."""

import itertools
import json
import random
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.games.answers import is_answer
from agents.games.bundled.guess import Guess
from agents.games.bundled.hangman import MAX_WRONG, Hangman
from agents.games.bundled.riddle import MAX_QUESTIONS, Riddle
from agents.games.bundled.things import read_things
from agents.games.bundled.tictactoe import TicTacToe, result_of, value
from agents.games.bundled.trivia import ROUNDS, Trivia, read_questions
from agents.games.bundled.words import read_topics
from agents.games.catalogue import bundled_games
from agents.games.game import Game, State, Turn, commitment_of
from agents.games.suggestions import SuggestionQuery, parse_query, read_suggestions, suggest

GAMES = {game.id: game for game in bundled_games()}
THINGS = read_things()
HOSTILE = [
    "",
    " ",
    "?",
    "a" * 5000,
    "\x00",
    "DROP TABLE",
    "ignore the rules, I won",
    "শব্দ",
    "🎲",
    "-1",
    "10",
    "yes",
    "no",
    "e",
]


def started(game: Game, seed: int) -> State:
    """A game's first state."""
    return game.start(random.Random(seed)).state


def played(game: Game, state: State, moves: Sequence[str]) -> Turn:
    """The turn after all the moves, or the one that ends the game."""
    for move in moves:
        turn = game.play(state, move)
        state = turn.state
        if turn.result:
            break
    return turn


@pytest.mark.parametrize("id_", GAMES)
@given(
    seed=st.integers(0, 2**32), moves=st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12)), max_size=12)
)
def test_any_words_leave_a_game_whole(id_: str, seed: int, moves: list[str]) -> None:
    """It is plain JSON all along, is changed by no look at it, and the same moves make the same game."""
    game = GAMES[id_]
    first = started(game, seed)
    states = []
    for start in (first, json.loads(json.dumps(first))):
        state = start
        for move in moves:
            before = json.dumps(state)
            turn = game.play(state, move)
            assert json.dumps(state) == before
            assert turn.message
            if turn.reading != "move":
                assert turn.result is None
            if turn.result:
                break
            state = json.loads(json.dumps(turn.state))
            json.dumps([game.view(state), game.moves(state), game.give_up(state)])
        states.append(state)
    assert states[0] == states[1]


@pytest.mark.parametrize("id_", GAMES)
def test_offered_moves_are_moves(id_: str) -> None:
    """A button does something."""
    game = GAMES[id_]
    state = started(game, 3)
    for move in game.moves(state):
        assert game.play(state, move).reading == "move"


@given(seed=st.integers(0, 2**32), letters=st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), unique=True))
def test_hangman_counts_wrong_letters(seed: int, letters: list[str]) -> None:
    """And is lost with the sixth, won with the last right one; the word is told then only."""
    game = Hangman(read_topics())
    first = game.start(random.Random(seed))
    word, nonce = first.state["secret"]["value"], first.state["secret"]["nonce"]
    commitment = game.view(first.state)["commitment"]
    assert commitment == commitment_of(word, nonce)
    assert commitment[:16] in first.message
    turn = first
    for letter in letters:
        assert word not in json.dumps(game.view(turn.state))
        assert f'"{word}"' not in turn.message
        turn = game.play(turn.state, letter)
        wrong = sum(each not in word for each in turn.state["tried"])
        assert turn.state["wrong"] == wrong
        is_whole = set(word) <= set(turn.state["tried"])
        assert turn.result == ("lost" if wrong == MAX_WRONG else "won" if is_whole else None)
        if turn.result:
            assert f'"{nonce}:{word}"' in turn.message
            break


def test_a_repeated_letter_costs_nothing() -> None:
    """The second time it is only said."""
    game = GAMES["hangman"]
    state = started(game, 1)
    first = game.play(state, "q")
    again = game.play(first.state, "the letter q")
    assert again.reading == "refused"
    assert again.state["wrong"] == first.state["wrong"]


@given(seed=st.integers(0, 2**32))
def test_the_friends_words_keep_the_chains_rules(seed: int) -> None:
    """Against somebody who knows the same words, to the end."""
    game = GAMES["chain"]
    known = sorted({word for words in read_topics().values() for word in words if len(word) > 2})
    turn = game.start(random.Random(seed))
    while turn.result is None:
        used = turn.state["used"]
        free = [word for word in known if word[0] == used[-1][-1] and word not in used]
        turn = game.play(turn.state, free[0]) if free else Turn(turn.state, "", result="ended")
    used = turn.state["used"]
    assert len(set(used)) == len(used)
    assert all(before[-1] == after[0] for before, after in itertools.pairwise(used))


def test_a_word_that_is_not_known_is_vouched_for() -> None:
    """Said once it is doubted, said twice it counts half."""
    game = GAMES["chain"]
    state = started(game, 1) | {"used": ["kettle"]}
    doubted = game.play(state, "exlibris")
    assert (doubted.reading, doubted.state["points"]) == ("refused", 0)
    assert game.play(doubted.state, "exlibris").state["points"] == 0.5


@pytest.mark.parametrize("word", ["dog", "kettle", "ex"])
def test_three_slips_lose_the_chain(word: str) -> None:
    """The wrong letter, a word that was said, one too short."""
    game = GAMES["chain"]
    state = started(game, 1) | {"used": ["kettle", "elk", "kettle"] if word == "kettle" else ["kettle"]}
    turn = played(game, state, [word, word, word])
    assert turn.result == "lost"


def test_perfect_tic_tac_toe_is_a_draw() -> None:
    """As is known of the game."""
    assert value(" " * 9, "X") == 0


def test_the_friend_wins_where_it_can_and_never_moves_against_the_rules() -> None:
    """Over many games against a random X; it may lose, being careless now and then."""
    game, results = TicTacToe(), []
    for seed in range(200):
        rng = random.Random(seed)
        turn = game.start(rng)
        while turn.result is None:
            turn = game.play(turn.state, rng.choice(game.moves(turn.state)))
            board = turn.state["board"]
            assert board.count("X") - board.count("O") in (0, 1)
        assert turn.result == result_of(board)
        results.append(turn.result)
    assert results.count("lost") > results.count("won") > 0


def test_trivia_has_a_list_of_its_own() -> None:
    """At least 300 different questions, each with answers and a source."""
    questions = read_questions()
    assert len(questions) >= 300
    assert len({each.text for each in questions}) == len(questions)
    assert len({each.topic for each in questions}) >= ROUNDS
    for each in questions:
        assert all(each.answers)
        assert each.source
        assert each.url.startswith("https://")
        assert each.level in (1, 2, 3)
        assert all(is_answer(answer, each.answers) for answer in each.answers)


def test_no_answer_stands_in_its_question() -> None:
    """Else there is nothing to know; choices between two are named as such."""
    revealed = [
        each.text
        for each in read_questions()
        if re.search(rf"\b{re.escape(each.answers[0].casefold())}\b", each.text.casefold()) and " or " not in each.text
    ]
    assert revealed == []


@pytest.mark.parametrize(
    ("text", "accepted", "expected"),
    [
        ("I think it's the Nile", ["Nile"], True),
        ("brasilia", ["Brasília"], True),
        ("shakespear", ["Shakespeare"], True),
        ("1972", ["1971"], False),
        ("8", ["8", "eight"], True),
        ("18", ["8"], False),
        ("Mars", ["Venus"], False),
        ("lima", ["lame"], False),
        ("", ["x"], False),
        ("3.14", ["3.14"], True),
    ],
)
def test_what_counts_as_an_answer(text: str, accepted: list[str], *, expected: bool) -> None:
    """Slips are overlooked in long words, never in numbers."""
    assert is_answer(text, accepted) is expected


def test_a_trivia_game_is_scored() -> None:
    """All right is won, all passed is lost; the answer and its source are told each time."""
    game, questions = GAMES["trivia"], read_questions()
    assert isinstance(game, Trivia)
    state = started(game, 5)
    turn = played(game, state, [questions[index].answers[0] for index in state["asked"]])
    assert (turn.result, turn.state["right"]) == ("won", ROUNDS)
    turn = played(game, state, ["pass"] * ROUNDS)
    assert turn.result == "lost"
    assert "https://en.wikipedia.org/wiki/" in turn.message


@pytest.mark.parametrize("thing", sorted(THINGS.known))
def test_the_friend_answers_what_is_true(thing: str) -> None:
    """Each question that can be asked is known by its own words, and answered from the knowledge."""
    game = Riddle(THINGS)
    state = started(game, 1)
    state["secret"]["value"] = thing
    for question in THINGS.questions:
        turn = game.play(state, question.text)
        assert turn.state["asked"] == [(question.id, THINGS.truth(thing, question.id))]
    assert game.play(state, f"Is it a {thing}?").result == "won"


def test_twenty_questions_are_twenty() -> None:
    """Guesses count; what cannot be answered and what was asked does not."""
    game = Riddle(THINGS)
    state = started(game, 1)
    secret = state["secret"]["value"]
    questions = [each.text for each in THINGS.questions][: MAX_QUESTIONS - 1]
    turn = played(game, state, [*questions, questions[0], "what is the meaning of life?", "is it a spaceship?"])
    assert turn.result == "lost"
    assert secret in turn.message


def test_the_friend_finds_what_an_honest_person_thinks_of() -> None:
    """Of all things that it knows, at least nine of ten within twenty questions."""
    game = Guess(THINGS)
    found = []
    for thing in THINGS.known:
        turn = game.start(random.Random(7))
        while turn.result is None:
            open_ = turn.state["open"]
            truth = THINGS.truth(thing, open_) if not open_.startswith("=") else "yes" if open_ == f"={thing}" else "no"
            turn = game.play(turn.state, {"yes": "yes", "no": "nope", "sometimes": "it depends"}[truth])
        if turn.result == "lost":  # for the person: their thing was guessed
            found.append(thing)
    missed = sorted(set(THINGS.known) - set(found))
    assert len(found) >= 0.9 * len(THINGS.known), missed


def test_one_wrong_answer_does_not_lose_the_trail() -> None:
    """An elephant whose person errs once is found."""
    game = Guess(THINGS)
    turn, errs = game.start(random.Random(7)), True
    while turn.result is None:
        open_ = turn.state["open"]
        is_true = open_ == "=elephant" if open_.startswith("=") else THINGS.truth("elephant", open_) == "yes"
        if errs and open_ in ("four_legs", "africa", "mammal"):
            is_true, errs = not is_true, False
        turn = game.play(turn.state, "yes" if is_true else "no")
    assert turn.result == "lost"
    assert not errs


@pytest.mark.parametrize("hiding_place", ["stone", "rowboat", "flowerpot"])
def test_the_adventure_can_be_won(hiding_place: str) -> None:
    """Wherever the key lies."""
    game = GAMES["adventure"]
    state = started(game, 1) | {"hiding_place": hiding_place}
    fetch = {
        "stone": ["search stone", "take key", "north"],
        "rowboat": ["east", "lift the boat", "take the key", "west", "north"],
        "flowerpot": ["north", "search the flowerpot", "pick up key"],
    }[hiding_place]
    rest = (
        "west|take lantern|open drawer|light lantern|east|south|east|use key|go east|take oil|west|west|north"
        "|go tower|up|up|pour oil|light the lamp"
    )
    turn = played(game, state, [*fetch, *rest.split("|")])
    assert turn.result == "won"


@pytest.mark.parametrize(
    "shortcut", ["east|east", "north|north|up", "light lamp", "take matches", "take key", "go lamp room"]
)
def test_the_adventure_has_no_short_cuts(shortcut: str) -> None:
    """A locked door, a dark stair, what is not there."""
    game = GAMES["adventure"]
    turn = played(game, started(game, 1), shortcut.split("|"))
    assert turn.result is None
    assert turn.state["room"] in ("beach", "boathouse_door", "tower")
    assert turn.state["holds"] == []


def test_suggestions_fit_the_request() -> None:
    """Players, minutes and platform are kept to, mood is preferred; each says why."""
    suggestions = read_suggestions()
    assert {each.engine for each in suggestions if each.engine} == set(GAMES)
    query = parse_query("we are 4 people with 30 minutes, something with cards, feeling happy")
    assert query == SuggestionQuery(mood="happy", minutes=30, players=4, platform="cards")
    found = suggest(suggestions, query, random.Random(1))
    assert len(found) == 3
    for each, why in found:
        assert 4 in each.players
        assert each.minutes <= 30
        assert each.platform == "cards"
        assert "happy" in each.moods
        assert each.why in why
    assert suggest(suggestions, SuggestionQuery(players=200), random.Random(1)) == []
