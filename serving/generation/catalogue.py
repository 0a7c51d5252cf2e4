"""The catalogue of model ids: models and their adapters, the alias, the embedder, agents.

It does not know what they answer, nor who may use them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from agents.base import Agent
from agents.registry import PREFIX, Registry
from serving.engines.registry import EngineRegistry
from serving.errors import UnknownModel

Kind = Literal["model", "alias", "embedder", "agent"]


class EmbedderState(Protocol):
    """The state of the embedder."""

    @property
    def model(self) -> str:
        """Its model id."""

    @property
    def ready(self) -> bool:
        """Whether it is ready."""

    @property
    def problem(self) -> str | None:
        """Why it is not ready; None if it is."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A model id. `root` is the model or agent behind it (for the alias, the active model); None for the embedder."""

    id: str
    kind: Kind
    root: str | None
    is_ready: bool
    reason: str | None = None


class ModelCatalogue:
    """All model ids of one gateway worker.

    Args:
        engine_registry: the served models and their alias.
        embedder: the embedder; None: off.
        agents: the agents by id.
        agents_model: the model id that agents use; None: the alias.

    """

    def __init__(
        self,
        engine_registry: EngineRegistry,
        embedder: EmbedderState | None,
        agents: Registry,
        agents_model: str | None = None,
    ) -> None:
        self._engine_registry = engine_registry
        self._embedder = embedder
        self._agents = agents
        self._agents_model = agents_model

    def __iter__(self) -> Iterator[Listed]:
        """Every id, ready or not: models, the alias, the embedder, agents."""
        for id_ in dict.fromkeys(
            [*self._engine_registry.models(), *self._aliases(), *self._embedders(), *self._agent_ids()]
        ):
            yield self.find(id_)

    def find(self, id_: str) -> Listed:
        """Look up an id; raises UnknownModel."""
        if self._embedder is not None and id_ == self._embedder.model:
            return Listed(id_, "embedder", None, self._embedder.ready, self._embedder.problem)
        if self.agent(id_) is not None:
            return Listed(id_, "agent", id_, is_ready=True)  # if its model is down, the run reports it
        model = self._engine_registry.resolve(id_)
        state = self._engine_registry.state(model)
        kind: Kind = "alias" if id_ == self._engine_registry.routing["alias"] else "model"
        return Listed(id_, kind, model, state.ready, state.reason)

    def answers(self, id_: str) -> str:
        """The id of the model or agent that answers generation requests for an id; raises UnknownModel."""
        return id_ if self.agent(id_) is not None else self._engine_registry.resolve(id_)

    def agent(self, id_: str) -> Agent | None:
        """The agent with a model id, or None."""
        return self._agents.find(id_) if id_.startswith(PREFIX) else None

    def agents_model(self) -> str:
        """The model that agents use; raises UnknownModel."""
        return self._engine_registry.resolve(self._agents_model or self._engine_registry.routing["alias"])

    def is_known(self, id_: str) -> bool:
        """Whether the id exists."""
        try:
            self.find(id_)
        except UnknownModel:
            return False
        return True

    def _aliases(self) -> list[str]:
        alias = self._engine_registry.routing["alias"]
        return [alias] if self._engine_registry.models() else []

    def _embedders(self) -> list[str]:
        return [] if self._embedder is None else [self._embedder.model]

    def _agent_ids(self) -> list[str]:
        return self._agents.model_ids()
