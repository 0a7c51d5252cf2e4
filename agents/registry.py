"""The agents by id. An agent's model id is its id with a prefix: `bondhu/games`."""

from collections.abc import Iterable, Iterator

from agents.base import Agent

PREFIX = "bondhu/"


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

    def model_ids(self) -> list[str]:
        """The model ids for OpenAI's clients."""
        return [f"{PREFIX}{id_}" for id_ in self._agents]
