"""Agents with the real default model behind vLLM's own server: whatever it says, rules hold and runs have an answer."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from pydantic import BaseModel

from agents.asking import choose, fill
from agents.base import Agent, AgentRequest, ModelTraits, RunContext
from agents.chat.persona import read_personas
from agents.events import Card, Done, Event, Token, ToolStep
from agents.loop import run_toolbox
from agents.registry import Parts, make_agents
from agents.tool import Tool, ToolResult
from agents.toolbox import Toolbox
from models.chat import ChatMessage
from models.vllm import arguments
from models.vllm.server import VllmServer
from serving.config.load import load_settings
from serving.supervisor import reaper
from storage.agents.states import SqlStates
from tests.agents.run_context import MakeContext
from tests.support.models.openai_chat import OpenAIChat

ROOT = Path(__file__).parents[2]
REGISTRY = make_agents(Parts(read_personas(ROOT / "configs" / "personas"), "dost"))


class Colour(BaseModel):
    """Which."""

    colour: str


@asynccontextmanager
async def default_model(log: Path) -> AsyncIterator[OpenAIChat]:
    """The client of vLLM's server, with the engine's arguments as they are configured."""
    settings = load_settings(ROOT)
    spec = settings.catalogue[settings.models.active]
    server = VllmServer(
        model=str(spec.directory(settings.root)),
        served_name=spec.id,
        arguments=arguments.command_line(spec.engine, spec.server_arguments(settings.root)),
        environment=spec.env,
        host="127.0.0.1",
        log_path=log,
        reaper=reaper.argv([], grace_s=5),
    )
    try:
        await server.start(600)
        async with aiohttp.ClientSession() as session:
            yield OpenAIChat(session, base_url=f"{server.address}/v1", model=spec.id, api_key=server.key)
    finally:
        await server.stop(grace_s=5)


async def say(agent_id: str, context: RunContext, text: str) -> list[Event]:
    """All that a run tells: an answer, and an end."""
    agent: Agent | None = REGISTRY.find(agent_id)
    assert agent is not None
    events = [event async for event in agent.run(AgentRequest([ChatMessage("user", text)]), context)]
    assert "".join(event.text for event in events if isinstance(event, Token)).strip()
    assert isinstance(events[-1], Done)
    return events


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_agents_with_the_default_model(tmp_path: Path, states: SqlStates, make_context: MakeContext) -> None:
    """A choice is one of the choices, parameters fit their schema, a friend speaks, a game is judged by its rules."""
    note = logging.getLogger("agents_on_vllm").warning  # shown by `pytest -rP`, and when it fails
    async with default_model(tmp_path / "engine.log") as model:

        def context(**parts: object) -> RunContext:
            return make_context(model=model, state=states, **parts)

        routed = {}
        for text in ("tell me a story", "play a game with me", "I need music", "my day was long"):
            task = "Choose who answers. talk: talks about anything. games: plays games. music: finds songs."
            prompt = [ChatMessage("system", task), ChatMessage("user", text)]
            routed[text] = await choose(context(), prompt, ["talk", "games", "music"])
            assert routed[text] in ("talk", "games", "music")

        prompt = [ChatMessage("system", "Write the colour as JSON."), ChatMessage("user", "I like red")]
        filled, _ = await fill(context(), prompt, Colour)
        assert filled is None or isinstance(filled, Colour)

        friend = await say("chat", context(), "Hello, how are you today?")
        assert isinstance(friend[-1], Done)
        assert friend[-1].models == (model.model,)
        assert friend[-1].usage.completion_tokens > 0

        await say("auto", context(), "let's play hangman")
        await say("auto", context(), "I wonder what the weather is like where you are")
        for letter in "etaoinshrdlucmfwypvbgkjqxz":
            events = await say("auto", context(), letter)
            (card,) = (event for event in events if isinstance(event, Card))
            if card.data.get("result"):
                break
        is_whole = "_" not in card.data["word"]
        assert card.data["result"] == ("won" if is_whole else "lost")

        runs: list[str] = []

        async def paint(colour: Colour, _: RunContext) -> ToolResult:
            runs.append(colour.colour)
            return ToolResult(f"It is {colour.colour} now.")

        tool = Tool("paint", "Paints the wall in a colour.", Colour, paint, lambda _: None)
        box = Toolbox("walls", [tool], "You are a painter.", lambda _: "paint", plain_answer="In which colour?")
        request = AgentRequest([ChatMessage("user", "Please paint the wall red")])
        for traits in (ModelTraits(), ModelTraits(plans=True)):
            events = [event async for event in run_toolbox(box, request, context(traits=traits))]
            assert any(isinstance(event, Token) and event.text.strip() for event in events)
            steps = [(event.name, event.state) for event in events if isinstance(event, ToolStep)]
            assert steps
            note(f"steps: {steps}, painted: {runs}")
        friend_text = "".join(event.text for event in friend if isinstance(event, Token))
        note(f"routed: {routed}, filled: {filled}, friend: {friend_text!r}, hangman: {card.data['result']}")
