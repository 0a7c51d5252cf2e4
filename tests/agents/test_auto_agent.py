"""The router: by rules, by what goes on, by a model among a few, else to the friend."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from agents.auto.agent import AutoAgent
from agents.auto.rules import confides, possibly, surely
from agents.base import Agent, AgentRequest, ModelTraits, Need, PassedOn, RunContext, no_spans
from agents.chat.persona import read_personas
from agents.events import Card, ClientCalls, Event, Proposal, Token, ToolStep
from agents.loop import done
from agents.registry import Parts, make_agents
from agents.running import run_agent
from models.chat import ChatMessage
from serving.ledger.run_steps import RunSteps
from storage.agents.states import SqlStates
from storage.memory.owner import Owner
from tests.agents.run_context import MakeContext
from tests.support.models.openai_chat import OpenAIChat
from tests.support.servers.script import ScriptServer, call

PERSONAS = read_personas(Path(__file__).parents[2] / "configs" / "personas")
REGISTRY = make_agents(Parts(PERSONAS, "dost"))
ALL = ("chat", "games", "music", "video")


async def say(agent: Agent, context: RunContext, text: str, **more: Any) -> tuple[str, list[Event]]:
    """How it was routed, and all that was told."""
    request = AgentRequest([ChatMessage("user", text)], **more)
    events = [event async for event in run_agent(agent, request, context)]
    assert isinstance(events[0], ToolStep)
    return events[0].detail, events


def auto() -> Agent:
    """The router over all agents that there are."""
    agent = REGISTRY.find("bondhu/auto")
    assert agent is not None
    return agent


def test_every_agent_is_a_model_id() -> None:
    """Found with the prefix and without."""
    assert {"chat", "games", "auto"} <= {agent.id for agent in REGISTRY}
    assert all(REGISTRY.find(f"bondhu/{agent.id}") is agent is REGISTRY.find(agent.id) for agent in REGISTRY)
    assert REGISTRY.find("bondhu") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("let's play hangman", "games"),
        ("trivia!", "games"),
        ("can you suggest a game for two people", "games"),
        ("play some music", "music"),
        ("make me a playlist for studying", "music"),
        ("I need songs for a run", "music"),
        ("play me something calm", "music"),
        ("recommend a video about space", "video"),
        ("what should I watch tonight", "video"),
        ("find a documentary on whales", "video"),
        ("Sad Hindi songs", "music"),
        ("Happy Bengali songs, please", "music"),
        ("what should I listen to tonight?", "music"),
        ("a cooking video for half an hour", "video"),
        ("A Bengali news video, 10 minutes", "video"),
        ("a round of trivia?", "games"),
        ("a riddle, please", None),
        ("quiz me", "games"),
        ("tell me a riddle", "games"),
        ("something gentle to fall asleep to", "music"),
        ("show me how to fold a crane", "video"),
        ("I have twenty minutes, something about stars?", "video"),
        ("গান শোনাও।", "music"),
        ("কিছু শান্ত গান", "music"),
        ("আমার প্রিয় গান", None),
        ("সারা দিন গান শুনলাম", None),
        ("কাল খেলা হবে?", None),
        ("মজার ভিডিও দেখাও", "video"),
        ("दो गाने सुने", None),
        ("एक गाना सुनाओ", "music"),
        ("खेल का स्कोर बताओ", None),
        ("ponme una canción", "music"),
        ("zeig mir ein Video", "video"),
        ("she sang such lovely songs", None),
        ("will there be a quiz?", None),
        ("my leg hurts when I hear songs", None),
        ("I see people all day", None),
        ("I want to see somebody about my panic", None),
        ("I got a new video card", None),
        ("a minute of silence", None),
        ("I love songs", None),
        ("sad songs make me cry", None),
        ("our wedding music", None),
        ("that video was fun", None),
        ("no music", None),
        ("she made a video", None),
        ("I had a long day", None),
        ("my sister plays the violin", None),
        ("I miss my mother", None),
        ("the game last night was sad", None),
        ("he watched me all day", None),
        ("how are you?", None),
        ("that is music to my ears", None),
        ("let's play it by ear", None),
        ("I killed it at work", None),
    ],
)
def test_what_is_surely_meant(text: str, expected: str | None) -> None:
    """Talk is nobody's in particular."""
    assert surely(text, ALL) == expected


def test_an_agent_that_there_is_not_is_not_meant() -> None:
    """Without a music agent, songs are talk."""
    assert surely("play some music", ("chat", "games")) is None
    assert possibly("I was listening to songs", ("chat", "games")) == []


async def test_what_an_agent_knows_by_its_name_is_its_own(states: SqlStates, make_context: MakeContext) -> None:
    """A genre or an artist of the catalogue that is loaded, which no rule lists."""
    assert (await say(auto(), make_context(state=states), "Could you find me some reggae?"))[0] == "music by name"
    assert (await say(auto(), make_context(state=states), "Could you find me some peace?"))[0] == "chat by default"


async def test_a_game_holds_the_conversation(states: SqlStates, make_context: MakeContext) -> None:
    """Until it is over; then what is said is talk again."""
    assert (await say(auto(), make_context(state=states), "let's play hangman"))[0] == "games by rule"
    assert (await say(auto(), make_context(state=states), "e"))[0] == "games as it goes on"
    assert (await say(auto(), make_context(state=states, conversation="c2"), "e"))[0] == "chat by default"
    assert (await say(auto(), make_context(state=states), "stop"))[0] == "games as it goes on"
    assert (await say(auto(), make_context(state=states), "e"))[0] == "chat by default"


async def test_a_model_is_asked_only_where_words_may_mean_an_agent(
    server: ScriptServer, model: OpenAIChat, states: SqlStates, make_context: MakeContext
) -> None:
    """By a grammar of those that may be meant and the friend; plain talk costs no such question."""
    server.answers = ["games", "Hello", "nonsense", "Oh"]
    assert (await say(auto(), make_context(state=states, model=model), "I am so bored"))[0] == "games by model"
    assert server.requests[0]["structured_outputs"] == {"choice": ["games", "chat"]}
    assert (await say(auto(), make_context(state=states, model=model), "hello dear"))[0] == "chat by default"
    assert len(server.requests) == 2
    assert (await say(auto(), make_context(state=states, model=model), "still bored"))[0] == "chat by default"


async def test_a_model_that_cannot_choose_is_not_asked_to(
    server: ScriptServer, model: OpenAIChat, states: SqlStates, make_context: MakeContext
) -> None:
    """What rules do not know is talk."""
    context = make_context(state=states, model=model, traits=ModelTraits(chooses=False))
    assert (await say(auto(), context, "I am so bored"))[0] == "chat by default"
    assert all("structured_outputs" not in body for body in server.requests)


async def test_the_clients_own_tools_are_the_friends(
    server: ScriptServer, model: OpenAIChat, make_context: MakeContext
) -> None:
    """Whatever was said."""
    server.answers = [call("lights", on=True)]
    extra = {"tools": [{"type": "function", "function": {"name": "lights", "parameters": {}}}]}
    how, events = await say(auto(), make_context(model=model), "play trivia", extra=extra)
    assert how == "chat for the client's own fields"
    assert any(isinstance(event, ClientCalls) for event in events)


async def test_a_temperature_is_no_tool(states: SqlStates, make_context: MakeContext) -> None:
    """What many clients always send does not keep anybody from a game."""
    how, _ = await say(auto(), make_context(state=states), "play trivia", extra={"temperature": 0.2})
    assert how == "games by rule"


async def test_a_game_waits_while_somebody_tells_how_they_are(states: SqlStates, make_context: MakeContext) -> None:
    """The friend answers, and goes on answering, until they come back to the game or to another."""
    assert (await say(auto(), make_context(state=states), "let's play hangman"))[0] == "games by rule"
    assert (await say(auto(), make_context(state=states), "e"))[0] == "games as it goes on"
    for text in ("I had a hard day", "my boss shouted at me", "it was awful"):
        assert (await say(auto(), make_context(state=states), text))[0].startswith("chat")
    assert (await say(auto(), make_context(state=states), "ok, back to the game"))[0] == "games as it goes on"
    assert (await say(auto(), make_context(state=states), "a"))[0] == "games as it goes on"


async def test_a_row_does_not_say_how_somebody_is(states: SqlStates, make_context: MakeContext) -> None:
    """Its steps are those of any talk, where the friend answers in a game's place."""
    steps = RunSteps(no_spans, lambda: 0.0)
    for text in ("let's play hangman", "I had a hard day", "it was awful"):
        await say(auto(), make_context(state=states, spans=steps), text)
    routes = [step["detail"] for step in steps.taken if step["kind"] == "route"]
    assert routes == ["games by rule", "chat by default", "chat by default"]


@pytest.mark.parametrize(
    "text",
    ["I'm so tired of everything", "my dog died", "nobody likes me", "I feel really low", "আজ মন খারাপ", "मैं दुखी हूं"],
)
def test_hard_feelings_go_to_the_friend(text: str) -> None:
    """In three languages."""
    assert confides(text)


@pytest.mark.parametrize(
    "text", ["sad", "is it alone?", "e", "down", "a hard word", "yes", "go north", "hurt", "apple"]
)
def test_a_move_is_no_confidence(text: str) -> None:
    """Words of games stay with the game."""
    assert not confides(text)


class Proposer:
    """An agent that proposes, and hears the answer."""

    id = "music"
    description = "Music."
    needs: frozenset[Need] = frozenset()
    passes_on: frozenset[PassedOn] = frozenset()

    async def run(self, request: AgentRequest, context: RunContext) -> AsyncGenerator[Event, None]:
        """Propose when asked for music."""
        yield Token(f"{request.confirm or request.text}")
        if "music" in request.text:
            yield Proposal("p1", "make", "Make it")
        yield done(context)


async def test_a_yes_goes_to_whoever_asked(states: SqlStates, make_context: MakeContext) -> None:
    """Once: what comes after it is routed anew; a button finds its agent later, too."""
    friend = REGISTRY.find("chat")
    assert friend is not None
    agent = AutoAgent([friend, Proposer()], "chat")
    assert (await say(agent, make_context(state=states), "play some music"))[0] == "music by rule"
    assert (await say(agent, make_context(state=states), "yes please"))[0] == "music as it asked"
    assert (await say(agent, make_context(state=states), "yes please"))[0] == "chat by default"
    assert (await say(agent, make_context(state=states), "", confirm="p1"))[0] == "music as it asked"
    assert (await say(agent, make_context(state=states), "", confirm="p2"))[0] == "chat by default"


async def test_what_a_button_says_goes_to_whoever_showed_it(states: SqlStates, make_context: MakeContext) -> None:
    """Until another agent shows buttons; without such a card before it, it is routed as anything else."""

    def context() -> RunContext:
        return make_context(state=states)

    assert (await say(auto(), context(), "like 1"))[0] == "chat by default"
    _, events = await say(auto(), context(), "play some jazz songs")
    says = [action.says for event in events if isinstance(event, Card) for action in event.actions]
    assert {"like 1", "skip 1", "never 1 again"} <= set(says)
    assert (await say(auto(), context(), "Never 1 again"))[0] == "music as it offered"
    assert (await say(auto(), context(), "I like it here"))[0] == "chat by default"
    assert (await say(auto(), context(), "like 2"))[0] == "music as it offered"
    assert (await say(auto(), context(), "show me space videos"))[0] == "video by rule"
    assert (await say(auto(), context(), "later 1"))[0] == "video as it offered"
    assert (await say(auto(), context(), "later 1 or 2"))[0] == "chat by default"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_typed_rating_goes_to_whoever_showed_what_it_rates(
    states: SqlStates, make_context: MakeContext
) -> None:
    """By its place, for a few turns; a question does not, nor what follows a list of somebody else's."""
    turns: list[ChatMessage] = []

    async def tell(text: str, reply: str = "") -> str:
        turns.append(ChatMessage("user", text))
        events = [event async for event in run_agent(auto(), AgentRequest(list(turns)), make_context(state=states))]
        said = "".join(event.text for event in events if isinstance(event, Token))
        turns.append(ChatMessage("assistant", reply or said))
        assert isinstance(events[0], ToolStep)
        return events[0].detail

    async def signals() -> list[float]:
        documents = {key.name: value for key, value in await states.of_person(Owner("app", "mina"))}
        return [each["reward"] for each in documents.get("feedback", {}).get("signals", ())]

    assert await tell("I like the second one") == "chat by default"
    assert await tell("play some jazz songs") == "music by rule"
    assert await tell("I like the second one") == "music as it showed that"
    assert await tell("तीसरा गाना पसंद नहीं आया") == "music as it showed that"
    assert await tell("প্রথমটা আর কখনো না") == "music as it showed that"
    assert await signals() == [1.0, -0.7, -1.0]
    for text in ("do you like the second one?", "I like the second season", "the first day was awful"):
        assert await tell(text) == "chat by default"
    assert await tell("I like the last one") == "chat by default", "too long ago"
    assert await tell("play some jazz songs") == "music by rule"
    assert await tell("I am going out", "You could wear\n1. the red one\n2. the blue one") == "chat by default"
    assert await tell("I like the second one") == "chat by default"
    assert await tell("show me space videos") == "video by rule"
    assert await tell("not the first") == "video as it showed that"
    assert await tell("let's play hangman") == "games by rule"
    assert await tell("not the first") == "games as it goes on"


async def test_a_game_that_is_over_begins_again_by_its_button(states: SqlStates, make_context: MakeContext) -> None:
    """Though nothing goes on any more."""
    await say(auto(), make_context(state=states), "let's play hangman")
    how, events = await say(auto(), make_context(state=states), "stop")
    assert how == "games as it goes on"
    says = [action.says for event in events if isinstance(event, Card) for action in event.actions]
    assert says
    for each in says:
        assert (await say(auto(), make_context(state=states), each))[0].startswith("games")
