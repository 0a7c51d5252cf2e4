"""The friend: personas from files, what the model is told, what is passed on, what it says without one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from agents.base import AgentRequest, InvalidParams, MemoryLine, ModelTraits, RequestRefused, RunContext
from agents.budget import RunLimits
from agents.chat.agent import ChatAgent
from agents.chat.persona import PersonaError, read_personas
from agents.chat.prompt import LEAVING, is_leaving
from agents.events import ClientCalls, Done, Event, Source, Token
from agents.person_memory import StoredMemory
from memory.recall.index_cache import IndexCache
from memory.service import MemoryService
from models.chat import ChatMessage
from storage.agents.states import SqlStates
from storage.memory.conversations import NewMessage
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner
from storage.memory.people import Profile, write_profile
from tests.agents.run_context import NOW, MakeContext
from tests.support.memory.word_embedder import DIMENSIONS, WordEmbedder
from tests.support.models.openai_chat import OpenAIChat
from tests.support.servers.script import CUT, ScriptServer, call

PERSONAS = read_personas(Path(__file__).parents[2] / "configs" / "personas")
AGENT = ChatAgent(PERSONAS, "dost")


async def say(context: RunContext, *messages: ChatMessage | str, **more: Any) -> list[Event]:
    """All that a run tells."""
    turns = [ChatMessage("user", each) if isinstance(each, str) else each for each in messages]
    return [event async for event in AGENT.run(AgentRequest(turns, **more), context)]


def text_of(events: list[Event]) -> str:
    """The words."""
    return "".join(event.text for event in events if isinstance(event, Token))


class Past:
    """A person's memories, as a test has them."""

    async def profile(self) -> Sequence[str]:
        """Their name."""
        return ["They are called Mina."]

    async def recall(self, question: str, *, limit: int) -> Sequence[MemoryLine]:
        """One memory, over two lines."""
        return [MemoryLine("m1", "Her cat\nis called Tuni.", "you said cat")][:limit]


def test_there_are_several_personas() -> None:
    """Each with a tone and something to say without a model; each says that it is an AI."""
    assert len(PERSONAS) >= 3
    assert len({each.name for each in PERSONAS.values()}) == len(PERSONAS)
    assert all("AI" in each.prompt for each in PERSONAS.values())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name: X", "description"),
        ("{name: X, description: d, prompt: p, greeting: g, away: a, colour: red}", "colour"),
        ("{name: X, description: d, prompt: p, greeting: g, away: a, tone: {humour: wild}}", "tone.humour"),
        ("- a list", "keys with values"),
        ("a: [", "no YAML"),
    ],
)
def test_a_wrong_persona_is_named(tmp_path: Path, text: str, named: str) -> None:
    """File and key."""
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(PersonaError) as raised:
        read_personas(tmp_path)
    assert "odd.yaml" in str(raised.value)
    assert named in str(raised.value)


def test_no_persona_is_an_error(tmp_path: Path) -> None:
    """A friend is somebody."""
    with pytest.raises(PersonaError):
        read_personas(tmp_path)


def words_of(message: dict[str, Any]) -> str:
    """Return a message's words, in parts or not."""
    content = message["content"]
    return content if isinstance(content, str) else "\n\n".join(part["text"] for part in content)


async def test_what_is_known_is_marked(server: ScriptServer, model: OpenAIChat, make_context: MakeContext) -> None:
    """What is known of the person, and what the client marked, is apart from the rest, as private."""
    mark = {"bondhu": {"private": "sensitive"}}
    theirs = ChatMessage("system", [{"type": "text", "text": "She is ill."} | mark])
    await say(make_context(model=model, memory=Past()), theirs, "hello")
    parts = server.requests[0]["messages"][0]["content"]
    marked = {part["text"].splitlines()[0][:20]: part.get("bondhu") for part in parts}
    assert list(marked.values()) == [None, {"private": "sensitive"}, {"private": "memory"}, None]


async def test_the_prompt_of_the_model(server: ScriptServer, model: OpenAIChat, make_context: MakeContext) -> None:
    """One system message: persona, tone, what the client adds, what is known, the clock where the person is."""
    server.answers = ["\n Tuni is a sweet name"]
    context = make_context(model=model, memory=Past(), zone=ZoneInfo("Asia/Dhaka"))
    events = await say(context, ChatMessage("system", "Never speak of work."), "My cat misses you")
    assert text_of(events) == "Tuni is a sweet name"
    system, turn = server.requests[0]["messages"]
    assert turn == {"role": "user", "content": "My cat misses you"}
    for part in ("You are Dost", "one to three sentences", "Never speak of work.", "They are called Mina."):
        assert part in words_of(system)
    assert "- Her cat is called Tuni." in words_of(system)
    assert "Friday, 27 November 2026, 20:00" in words_of(system)
    assert Source("Her cat is called Tuni.", why="you said cat") in events


async def test_persona_and_tone_are_chosen(
    server: ScriptServer, model: OpenAIChat, states: SqlStates, make_context: MakeContext
) -> None:
    """By the request, or for good; the request's come first."""
    await AGENT.prefer({"persona": "guru", "tone": {"length": "long"}}, make_context(state=states))
    await say(make_context(model=model, state=states), "hello")
    await say(make_context(model=model, state=states, conversation="c2"), "hello", params={"persona": "mishti"})
    await say(make_context(model=model, state=states, owner=Owner("app", "rafi")), "hello")
    prompts = [body["messages"][0]["content"] for body in server.requests]
    assert [name in text for name, text in zip(("Guru", "Mishti", "Dost"), prompts, strict=True)] == [True] * 3
    assert server.requests[0]["max_tokens"] > server.requests[2]["max_tokens"]


@pytest.mark.parametrize(
    ("params", "field"),
    [({"persona": "nobody"}, "persona"), ({"tone": {"humour": "wild"}}, "tone.humour"), ({"tone": 1}, "tone")],
)
async def test_a_choice_that_there_is_not_is_named(
    make_context: MakeContext, params: dict[str, Any], field: str
) -> None:
    """Before anything is told."""
    with pytest.raises(InvalidParams) as raised:
        await say(make_context(), "hello", params=params)
    assert raised.value.field == field


@pytest.mark.parametrize("reply", [500, 429, "", " \n"])
async def test_a_friend_without_a_model_is_away(
    server: ScriptServer, model: OpenAIChat, make_context: MakeContext, reply: Any
) -> None:
    """And says so in its own words."""
    server.answers = [reply]
    assert text_of(await say(make_context(model=model), "hello")) == PERSONAS["dost"].away
    assert text_of(await say(make_context(), "hello")) == PERSONAS["dost"].away
    assert text_of(await say(make_context(RunLimits(max_tokens=1), model=model), "hello")) == PERSONAS["dost"].away


async def test_an_answer_that_breaks_off_says_so(
    server: ScriptServer, model: OpenAIChat, make_context: MakeContext
) -> None:
    """Its end is none of its own."""
    server.answers = [CUT]
    events = await say(make_context(model=model), "hello")
    assert text_of(events) == "So I"
    assert events[-1] == Done("length")


async def test_the_clients_own_fields_go_on(server: ScriptServer, model: OpenAIChat, make_context: MakeContext) -> None:
    """Tools, a schema, an image; calls come back to the client."""
    server.answers = [call("lights", on=True)]
    tools = [{"type": "function", "function": {"name": "lights", "parameters": {}}}]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    shown = ChatMessage("user", [{"type": "text", "text": "lights on"}, image])
    extra = {"tools": tools, "response_format": {"type": "json_object"}}
    events = await say(make_context(model=model), shown, extra=extra)
    assert server.requests[0]["tools"] == tools
    assert server.requests[0]["response_format"] == {"type": "json_object"}
    assert server.requests[0]["messages"][-1]["content"][1] == image
    (calls,) = (event for event in events if isinstance(event, ClientCalls))
    assert [each.name for each in calls.calls] == ["lights"]
    assert isinstance(events[-1], Done)
    assert events[-1].finish_reason == "tool_calls"


async def test_a_long_conversation_keeps_its_end(
    server: ScriptServer, model: OpenAIChat, make_context: MakeContext
) -> None:
    """The last turns, beginning with one of the person's; the last message even when it alone is too long."""
    turns = [ChatMessage("user" if n % 2 == 0 else "assistant", f"{n} " + "word " * 40) for n in range(41)]
    await say(make_context(model=model, traits=ModelTraits(max_prompt_tokens=500)), *turns)
    sent = server.requests[0]["messages"][1:]
    assert 1 < len(sent) < 20
    assert sent[0]["role"] == "user"
    assert sent[-1]["content"] == turns[-1].content
    await say(make_context(model=model, traits=ModelTraits(max_prompt_tokens=10)), *turns)
    assert len(server.requests[1]["messages"]) == 2


@pytest.mark.parametrize(
    "text", ["bye", "Good night!", "ok, I have to go now", "thanks, talk later", "I'm off", "gotta go, dinner"]
)
async def test_nobody_is_held_back(
    server: ScriptServer, model: OpenAIChat, make_context: MakeContext, text: str
) -> None:
    """Who says goodbye is let go."""
    assert is_leaving(text)
    await say(make_context(model=model), text)
    assert LEAVING in server.requests[0]["messages"][0]["content"]


@pytest.mark.parametrize(
    "text",
    [
        "I am off chocolate these days",
        "she said goodbye to me",
        "how do I see you",
        "I need sleep advice",
        "I have to go to the dentist on Friday",
        "I'm going to the fair with Rafi",
    ],
)
def test_what_is_no_goodbye(text: str) -> None:
    """Words of leaving within other talk."""
    assert not is_leaving(text)


async def test_an_empty_conversation_is_greeted(make_context: MakeContext) -> None:
    """Without a model, too."""
    assert text_of(await say(make_context())) == PERSONAS["dost"].greeting


async def test_the_past_comes_from_the_store(
    server: ScriptServer, model: OpenAIChat, make_context: MakeContext, engine: AsyncEngine
) -> None:
    """What a person said in another conversation; nothing of anybody else's."""
    embedder = WordEmbedder()
    index_cache = IndexCache(engine, embedder.space, dimensions=DIMENSIONS, max_bytes=2**20)
    store = MemoryService(engine, index_cache, embedder, now=lambda: datetime.now(UTC))
    mina, rafi = Owner("app", "mina"), Owner("app", "rafi")
    await write_profile(engine, mina, Profile("Mina", {"city": "Sylhet"}), now=NOW)
    for owner, cat in ((mina, "Tuni"), (rafi, "Bagha")):
        turn = NewMessage("1", "user", f"My cat is called {cat}", NOW - timedelta(days=3))
        await store.ingest(owner, "old", [turn])
    await say(make_context(model=model, memory=StoredMemory(store, mina, timeout_s=5)), "what is my cat called?")
    system = words_of(server.requests[0]["messages"][0])
    for part in ("They are called Mina.", "city: Sylhet", "My cat is called Tuni"):
        assert part in system
    assert "Bagha" not in system
    index_cache.close()


async def test_how_long_and_how_freely_is_the_clients_to_say(
    server: ScriptServer, model: OpenAIChat, make_context: MakeContext
) -> None:
    """Within what the run may use; what a model would take amiss is not sent twice."""
    await say(make_context(model=model), "hello", extra={"max_completion_tokens": 5, "temperature": 0, "stop": ["."]})
    body = server.requests[0]
    assert (body["max_tokens"], body["temperature"], body["stop"]) == (5, 0.0, ["."])
    assert "max_completion_tokens" not in body


async def test_a_wrong_field_of_the_clients_is_its_to_mend(
    server: ScriptServer, model: OpenAIChat, make_context: MakeContext
) -> None:
    """No friend is away because of it."""
    server.answers = [400]
    with pytest.raises(RequestRefused) as raised:
        await say(make_context(model=model), "hello", extra={"tools": [{"type": "odd"}]})
    assert raised.value.field == "tools"


async def test_who_comes_back_is_asked_once_about_what_was_planned(
    engine: AsyncEngine, states: SqlStates, model: OpenAIChat, server: ScriptServer, make_context: MakeContext
) -> None:
    """After an absence, and not each time; not who is leaving; on both databases."""
    owner, clock = Owner("app", "mina"), {"now": NOW}
    index_cache = IndexCache(engine, WordEmbedder().space, dimensions=DIMENSIONS, max_bytes=2**20)
    store = MemoryService(engine, index_cache, WordEmbedder(), lambda: clock["now"])
    memory, away = StoredMemory(store, owner, timeout_s=10), StoredMemory(store, owner, timeout_s=0)

    async def prompt(text: str, memory: StoredMemory = memory) -> str:
        await say(make_context(model=model, state=states, memory=memory, now=lambda: clock["now"]), text)
        return str(server.requests[-1]["messages"])

    assert "are back" not in await prompt("hello")
    await store.add(owner, NewMemory("The exam in chemistry.", "event", event_at=NOW + timedelta(hours=20)))
    clock["now"] = NOW + timedelta(hours=1)
    assert "are back" not in await prompt("hello")
    clock["now"] = NOW + timedelta(days=2)
    assert "exam" not in (await prompt("bye")).partition("are back")[2]
    clock["now"] = NOW + timedelta(days=3)
    assert "Meanwhile" not in await prompt("hello", away), "memory is away: the next message asks"
    text = await prompt("hello")
    assert "Meanwhile it was to happen: The exam in chemistry." in text
    clock["now"] = NOW + timedelta(days=4)
    assert "Meanwhile" not in await prompt("hello")
    index_cache.close()
