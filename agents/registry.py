"""Which agents there are, by id. A model id is an agent's with a prefix: `bondhu/games`."""

from collections.abc import Iterable, Iterator

from agents.base import Agent

PREFIX = "bondhu/"


class Registry:
    """Agents by id; raises ValueError when two have the same."""

    def __init__(self, agents: Iterable[Agent]) -> None:
        self._agents: dict[str, Agent] = {}
        for agent in agents:
            if agent.id in self._agents:
                raise ValueError(f"two agents are called {agent.id}")
            self._agents[agent.id] = agent

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._agents.values())

    def find(self, id_: str) -> Agent | None:
        """The agent of that id, or of that model id; None when there is none."""
        return self._agents.get(id_.removeprefix(PREFIX))

    def model_ids(self) -> list[str]:
        """What OpenAI's clients call them."""
        return [f"{PREFIX}{id_}" for id_ in self._agents]
