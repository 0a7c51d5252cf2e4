"""The list of agents. A new agent is a folder and a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agents.auto.agent import AutoAgent
from agents.base import Agent
from agents.chat.agent import ChatAgent
from agents.chat.persona import Persona
from agents.games.agent import GamesAgent
from agents.games.catalogue import bundled_games
from agents.games.suggestions import read_suggestions
from agents.music.agent import MusicAgent, MusicServices
from agents.personality.agent import PersonalityAgent
from agents.registry import PREFIX, Registry
from agents.video.agent import VideoAgent, VideoServices


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of agents; the composition root makes them from the settings."""

    personas: Mapping[str, Persona]
    default_persona: str
    music: MusicServices = field(default_factory=MusicServices)
    video: VideoServices = field(default_factory=VideoServices)


AGENTS: Mapping[str, Callable[[Parts], Agent]] = {
    ChatAgent.id: lambda parts: ChatAgent(parts.personas, parts.default_persona),
    GamesAgent.id: lambda _: GamesAgent(bundled_games(), read_suggestions()),
    MusicAgent.id: lambda parts: MusicAgent(parts.music),
    VideoAgent.id: lambda parts: VideoAgent(parts.video),
    PersonalityAgent.id: lambda _: PersonalityAgent(),
}


def make_agents(parts: Parts) -> Registry:
    """All agents, and the router over them."""
    agents = [make(parts) for make in AGENTS.values()]
    return Registry([*agents, AutoAgent(agents, default=ChatAgent.id)])


def model_ids() -> list[str]:
    """The model ids of all agents, the router last."""
    return [f"{PREFIX}{id_}" for id_ in (*AGENTS, AutoAgent.id)]
