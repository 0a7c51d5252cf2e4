"""An answer said again after its effect was done: the same agent says what was done, and does nothing once more.

As after a process that was killed between the effect and the answer: the request is the one before, word for word.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.auto.agent import AutoAgent
from agents.base import AgentRequest, RunContext
from agents.chat.persona import read_personas
from agents.events import Event, Proposal, Token, ToolStep
from agents.music.agent import MusicServices
from agents.proposals import AGAIN_S, Answer, answer_of
from agents.registry import Parts, make_agents
from agents.running import run_agent
from models.chat import ChatMessage
from storage.agents.states import SqlStates
from storage.media.playlists import SqlPlaylists
from storage.memory.owner import Owner
from tests.agents.run_context import NOW, MakeContext

PERSONAS = read_personas(Path(__file__).parents[3] / "configs" / "personas")
MINA = Owner("app", "mina")
LOST = (
    ("play some jazz songs", "like 1", "music"),
    ("show me space videos", "later 1", "video"),
    ("show me space videos", "not the first", "video"),
    ("let's play hangman", "e", "games"),
    ("let's play hangman", "stop", "games"),
    ("start the personality test", "4", "personality"),
    ("start the personality test", "stop", "personality"),
)


class Talk:
    """A conversation through the router; what was said with its answers is sent along, as clients do."""

    def __init__(self, engine: AsyncEngine, make_context: MakeContext, conversation: str = "c") -> None:
        self._conversation = conversation
        self.playlists = SqlPlaylists(engine, lambda: NOW)
        self._states = SqlStates(engine, lambda: NOW)
        parts = Parts(PERSONAS, "dost", music=MusicServices(self.playlists))
        found = make_agents(parts).find("auto")
        assert isinstance(found, AutoAgent)
        self._auto = found
        self._make_context = make_context
        self.turns: list[ChatMessage] = []
        self.events: list[Event] = []

    async def say(self, text: str, *, after_s: float = 0.0, alone: bool = False, undo: str = "") -> str:
        """Say it, hear the answer; return who was chosen, and how."""
        request = self._request(text, alone=alone, undo=undo)
        self.events = [event async for event in run_agent(self._auto, request, self._context(after_s))]
        self.turns = [*request.messages, ChatMessage("assistant", self.heard)]
        step = self.events[0]
        assert isinstance(step, ToolStep)
        return step.detail

    async def lose(self, text: str, *, undo: str = "") -> None:
        """Say it; the whole run is done, and its answer is lost."""
        async for _ in run_agent(self._auto, self._request(text, undo=undo), self._context(0.0)):
            pass

    @property
    def heard(self) -> str:
        """The words of the last answer."""
        return "".join(event.text for event in self.events if isinstance(event, Token))

    @property
    def proposal(self) -> Proposal:
        """The proposal in it."""
        [found] = [event for event in self.events if isinstance(event, Proposal)]
        return found

    async def made(self) -> list[str]:
        """The names of Mina's playlists."""
        return [each.name for each in await self.playlists.all_of(MINA)]

    async def stored(self) -> dict[tuple[str, str, str], object]:
        """What agents have stored of Mina, but for the router."""
        found = await self._states.of_person(MINA)
        return {(key.agent, key.conversation, key.name): value for key, value in found if key.agent != "auto"}

    def _request(self, text: str, *, alone: bool = False, undo: str = "") -> AgentRequest:
        before: Sequence[ChatMessage] = [] if alone else self.turns
        return AgentRequest([*before, ChatMessage("user", text)], undo=undo or None)

    def _context(self, after_s: float) -> RunContext:
        return self._make_context(
            conversation=self._conversation, state=self._states, now=lambda: NOW + timedelta(seconds=after_s)
        )


@pytest.fixture
def talk(engine: AsyncEngine, make_context: MakeContext) -> Talk:
    """Return a conversation on each database."""
    return Talk(engine, make_context)


async def test_a_yes_said_again_is_told_what_was_done(talk: Talk) -> None:
    """With the button that undoes it; there is one playlist."""
    assert (await talk.say("make me a calm playlist")).startswith("music")
    await talk.lose("yes")
    assert await talk.made() == ["Calm"]
    for _ in range(2):  # then also by who had the answer, and says it once more
        assert await talk.say("yes") == "music as it asked"
        assert talk.heard.startswith('That is done already. Your playlist "Calm" is there')
        assert (talk.proposal.state, talk.proposal.can_undo) == ("applied", True)
    assert await talk.made() == ["Calm"]


async def test_a_no_said_again_is_one_no(talk: Talk) -> None:
    """Nothing is made."""
    await talk.say("make me a calm playlist")
    await talk.lose("no thanks")
    assert await talk.say("no thanks") == "music as it asked"
    assert talk.proposal.state == "declined"
    assert await talk.made() == []


async def test_an_undo_said_again_undoes_nothing_more(talk: Talk) -> None:
    """By its button, or typed."""
    for by_button in (True, False):
        await talk.say("make me a calm playlist")
        await talk.say("yes")
        id_ = talk.proposal.id if by_button else ""
        await talk.lose("Undo that.", undo=id_)
        assert await talk.made() == []
        assert await talk.say("Undo that.", undo=id_) == "music as it asked"
        assert talk.proposal.state == "undone"
        assert talk.heard == 'Undone: "Calm" is gone again.'


async def test_after_something_else_a_yes_is_the_friends(talk: Talk) -> None:
    """And another answer than the one that was given, and the same one much later."""
    await talk.say("make me a calm playlist")
    await talk.say("yes")
    assert (await talk.say("thanks")).startswith("chat")
    assert (await talk.say("yes")).startswith("chat")
    await talk.say("make me a happy playlist")
    await talk.say("yes")
    assert (await talk.say("no")).startswith("chat")
    await talk.say("make me a sad playlist")
    await talk.lose("yes")
    assert (await talk.say("yes", after_s=AGAIN_S + 1)).startswith("chat")
    assert len(await talk.made()) == 3


async def test_a_client_without_history_is_understood_too(talk: Talk) -> None:
    """The last message alone is sent."""
    await talk.say("make me a calm playlist", alone=True)
    for _ in range(2):
        assert await talk.say("yes", alone=True) == "music as it asked"
    assert (await talk.say("tell me about your day", alone=True)).startswith("chat")
    assert (await talk.say("yes", alone=True)).startswith("chat")
    assert await talk.made() == ["Calm"]


async def test_a_new_proposal_is_another(talk: Talk) -> None:
    """Its yes makes a second playlist."""
    for mood in ("calm", "happy"):
        await talk.say(f"make me a {mood} playlist")
        await talk.lose("yes")
        assert await talk.say("yes") == "music as it asked"
    assert sorted(await talk.made()) == ["Calm", "Happy"]


async def test_any_answer_that_was_lost_comes_from_the_same_agent(
    engine: AsyncEngine, make_context: MakeContext
) -> None:
    """A number, a move, also the one that ended a game: the same words, and stored once."""
    for number, (before, last, agent) in enumerate(LOST):
        talk = Talk(engine, make_context, f"c{number}")
        await talk.say(before)
        await talk.lose(last)
        kept = await talk.stored()
        assert (await talk.say(last)).split(" ")[0] == agent, last
        assert talk.heard, last
        assert await talk.stored() == kept, last
        if last == "stop":
            assert (await talk.say("yes")).startswith("chat"), "it has ended"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes please!", "yes"),
        ("হ্যাঁ", "yes"),
        ("no, thanks", "no"),
        ("undo", "undo"),
        ("Undo that.", "undo"),
        ("please undo it", "undo"),
        ("take it back", "undo"),
        ("I undo my shoes", None),
        ("yes, but later", None),
    ],
)
def test_plain_answers(text: str, expected: Answer | None) -> None:
    """Nothing but the answer."""
    assert answer_of(text) == expected
