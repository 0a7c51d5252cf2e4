"""The agents by id. An agent's model id is its id with a prefix: `bondhu/games`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name

from agents.auto.agent import AutoAgent
from agents.base import Agent
from agents.catalogue import AGENTS, PREFIX
from agents.chat.persona import Persona
from agents.music.agent import MusicServices
from agents.video.agent import VideoServices


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of agents; the composition root makes them from the settings."""

    personas: Mapping[str, Persona]
    default_persona: str
    music: MusicServices = field(default_factory=MusicServices)
    video: VideoServices = field(default_factory=VideoServices)


class Registry:
    """Agents by id; raises ValueError for a duplicate id."""

    def __init__(self, agents: Iterable[Agent]) -> None:
        self._agents: dict[str, Agent] = {}
        for agent in agents:
            if agent.id in self._agents:
                raise ValueError(f"two agents are called {agent.id}")
            self._agents[agent.id] = agent

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._agents.values())

    def find(self, id_: str) -> Agent | None:
        """The agent with that id or model id; None if there is none."""
        return self._agents.get(id_.removeprefix(PREFIX))


def make_agents(parts: Parts) -> Registry:
    """All agents of the catalogue, and the router over them; raises ValueError for one whose id is another there."""
    agents = []
    for id_, factory in AGENTS.items():
        make: Callable[[Parts], Agent] = resolve_name(factory)
        agent = make(parts)
        if agent.id != id_:
            raise ValueError(f"{factory} makes the agent {agent.id}, not {id_}")
        agents.append(agent)
    return Registry([*agents, AutoAgent(agents, default="chat")])
