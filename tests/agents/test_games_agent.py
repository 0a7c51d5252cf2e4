"""The agent that plays: games kept per person and conversation on both databases, with and without a model."""

import asyncio
from typing import Any

import pytest

from agents.base import AgentRequest, RunContext, Unsupported
from agents.events import Card, Done, Event, Token, document
from agents.games.agent import GamesAgent
from agents.games.catalogue import bundled_games
from agents.games.commands import Command, command_of
from agents.games.suggestions import read_suggestions
from models.chat import ChatMessage
from storage.agents.states import SqlStates
from storage.memory.owner import Owner
from tests.agents.run_context import MakeContext
from tests.support.models.openai_chat import OpenAIChat
from tests.support.servers.script import ScriptServer

GAMES = bundled_games()
AGENT = GamesAgent(GAMES, read_suggestions())


async def say(context: RunContext, *texts: str, **more: Any) -> list[Event]:
    """All that a run tells; several texts are a conversation, the person and the friend by turns."""
    roles = ["user" if (len(texts) - index) % 2 else "assistant" for index in range(len(texts))]
    messages = [ChatMessage(role, text) for role, text in zip(roles, texts, strict=True)]  # type: ignore[arg-type]
    events = [event async for event in AGENT.run(AgentRequest(messages, **more), context)]
    assert isinstance(events[-1], Done)
    assert [document(event)["type"] for event in events]
    return events


def text_of(events: list[Event]) -> str:
    """The words."""
    return "".join(event.text for event in events if isinstance(event, Token))


def card_of(events: list[Event]) -> Card:
    """The card."""
    (card,) = (event for event in events if isinstance(event, Card))
    return card


async def test_a_game_goes_on_between_runs(states: SqlStates, make_context: MakeContext) -> None:
    """From its start to its end, and its result is kept."""
    card = card_of(await say(make_context(state=states), "let's play tic tac toe"))
    assert (card.title, card.data["board"]) == ("Tic-tac-toe", [" "] * 9)
    for _ in range(9):
        card = card_of(await say(make_context(state=states), card.actions[0].says))
        if card.data.get("result"):
            break
    assert card.data["result"] in ("won", "lost", "draw")
    kept = await states.load(make_context(state=states).state_key("games", "game"))
    assert kept is not None
    assert kept.value["results"]["tictactoe"] == {card.data["result"]: 1}
    assert not await AGENT.is_playing(make_context(state=states))
    assert card_of(await say(make_context(state=states), "again")).data["board"] == [" "] * 9
    assert await AGENT.is_playing(make_context(state=states))


async def test_people_and_conversations_have_games_of_their_own(states: SqlStates, make_context: MakeContext) -> None:
    """Nobody moves in another's."""
    await say(make_context(state=states), "play hangman")
    for others in ({"owner": Owner("app", "rafi")}, {"owner": Owner("b", "mina")}, {"conversation": "c2"}):
        assert not await AGENT.is_playing(make_context(state=states, **others))
        await say(make_context(state=states, **others), "play trivia")
    card = card_of(await say(make_context(state=states), "e"))
    assert card.title == "Hangman"
    assert card.data["tried"] == ["e"]


async def test_a_request_that_comes_again_moves_nothing(states: SqlStates, make_context: MakeContext) -> None:
    """The same messages are answered as before; the same word said anew is a move."""
    begin = text_of(await say(make_context(state=states), "play hangman"))
    first = await say(make_context(state=states), "play hangman", begin, "q")
    again = await say(make_context(state=states), "play hangman", begin, "q")
    assert text_of(again) == text_of(first)
    assert card_of(again).data["wrong"] == card_of(first).data["wrong"]
    anew = await say(make_context(state=states), "play hangman", begin, "q", text_of(first), "q")
    assert "before" in text_of(anew)


async def test_two_moves_at_once_both_count(states: SqlStates, make_context: MakeContext) -> None:
    """None is lost, in any order."""
    await say(make_context(state=states), "play hangman")
    await asyncio.gather(*(say(make_context(state=states), letter) for letter in "qz"))
    card = card_of(await say(make_context(state=states), "x"))
    assert sorted(card.data["tried"]) == ["q", "x", "z"]


async def test_stopping_tells_the_secret(states: SqlStates, make_context: MakeContext) -> None:
    """And ends it; the card says so."""
    await say(make_context(state=states), "play hangman")
    events = await say(make_context(state=states), "I give up!")
    assert "SHA-256" in text_of(events)
    assert card_of(events).data["result"] == "ended"
    assert not await AGENT.is_playing(make_context(state=states))


async def test_a_model_talks_beside_the_game_and_never_sees_the_secret(
    server: ScriptServer, model: OpenAIChat, states: SqlStates, make_context: MakeContext
) -> None:
    """Moves are judged without it; what is no move it answers, whatever it claims."""
    await say(make_context(state=states, model=model), "play hangman")
    kept = await states.load(make_context(state=states).state_key("games", "game"))
    assert kept is not None
    word = kept.value["active"]["state"]["secret"]["value"]
    await say(make_context(state=states, model=model), "q")
    assert server.requests == []
    server.answers = ["You won the game!"]
    events = await say(make_context(state=states, model=model), "how was your day? mine was long")
    assert text_of(events).startswith("You won the game!\n\n")
    assert word not in str(server.requests)
    assert "result" not in card_of(events).data, "what a model claims changes nothing"


@pytest.mark.parametrize("reply", [500, ""])
async def test_a_model_that_is_away_does_not_matter(
    server: ScriptServer, model: OpenAIChat, states: SqlStates, make_context: MakeContext, reply: Any
) -> None:
    """The game says where it stands."""
    server.answers = [reply]
    await say(make_context(state=states, model=model), "play trivia")
    text = text_of(await say(make_context(state=states, model=model), "what do you think of the weather over there?"))
    assert text.endswith("?")


async def test_suggestions_have_buttons_that_start(states: SqlStates, make_context: MakeContext) -> None:
    """By mood and time."""
    events = await say(make_context(state=states), "I am bored, suggest a game for 5 minutes")
    assert "good when you feel bored" in text_of(events)
    for action in card_of(events).actions:
        await say(make_context(state=states), action.says)
        assert await AGENT.is_playing(make_context(state=states))
        await say(make_context(state=states), "stop")


async def test_a_request_without_a_user_is_refused_with_the_reason(make_context: MakeContext) -> None:
    """No state is made for nobody."""
    assert "no user" in text_of(await say(make_context(owner=None), "play hangman"))


async def test_what_it_does_not_take_is_refused_by_name(states: SqlStates, make_context: MakeContext) -> None:
    """Before anything is told."""
    with pytest.raises(Unsupported) as raised:
        await say(make_context(state=states), "play hangman", extra={"tools": [{}]})
    assert raised.value.field == "tools"


@pytest.mark.parametrize(
    ("text", "is_playing", "expected"),
    [
        ("Let's play hangman", False, Command("start", "hangman")),
        ("hangman", False, Command("start", "hangman")),
        ("can we play noughts and crosses?", True, Command("start", "tictactoe")),
        ("play 20 questions", False, Command("start", "riddle")),
        ("play Twenty questions: I guess", False, Command("start", "guess")),
        ("play Twenty questions: you guess", False, Command("start", "riddle")),
        ("adventure", True, None),
        ("what should we play", False, Command("suggest")),
        ("let's play something", False, Command("suggest")),
        ("stop", True, Command("stop")),
        ("Give up.", True, Command("stop")),
        ("help", True, Command("rules")),
        ("how do I play", True, Command("rules")),
        ("again please", False, Command("again")),
        ("my cat is called Trivia and she is asleep on the sofa today", False, None),
        ("I feel sad", False, None),
        ("play", True, None),
        ("start", True, None),
    ],
)
def test_what_is_wanted(text: str, expected: Command | None, *, is_playing: bool) -> None:
    """While a game is on any word may be a move."""
    assert command_of(text, GAMES, is_playing=is_playing) == expected
