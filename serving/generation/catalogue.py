"""The model ids of a running gateway, and whether each is ready.

`serving.config.model_ids` has the ids; the routing table says which of them run. This module does not know who may use
them.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from agents.base import Agent
from agents.registry import Registry
from serving.config.model_ids import GENERATING, LOCAL, Kind, ModelId, ModelIds, running
from serving.engines.registry import EngineRegistry, ModelState
from serving.engines.wire import Routing
from serving.errors import UnknownModel

REQUESTABLE: frozenset[Kind] = GENERATING | {"embedder"}  # kinds that a client can request


class EmbedderState(Protocol):
    """The state of the embedder."""

    @property
    def model(self) -> str:
        """The id of the model."""

    @property
    def ready(self) -> bool:
        """Whether it is ready."""

    @property
    def problem(self) -> str | None:
        """Why it is not ready."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A model id. `root` is the model that generates for it (for the alias, the active one); None: no generation."""

    id: str
    kind: Kind
    root: str | None
    is_ready: bool
    reason: str | None = None


class ModelCatalogue:
    """The model ids of one gateway worker.

    Args:
        configured: the ids of the configuration.
        engine_registry: the served models and their alias.
        embedder: the embedder; None: off.
        agents: the agents.
        external: returns the current ids of external models.
        agents_model: the model id that agents use; None: the alias.

    """

    def __init__(
        self,
        configured: ModelIds,
        engine_registry: EngineRegistry,
        embedder: EmbedderState | None,
        agents: Registry,
        external: Callable[[], Collection[str]],
        agents_model: str | None = None,
    ) -> None:
        self._configured = configured
        self._engine_registry = engine_registry
        self._embedder = embedder
        self._agents = agents
        self._external = external
        self._agents_model = agents_model
        self._cache_key: tuple[Routing, Collection[str]] | None = None
        self._ids = configured

    def __iter__(self) -> Iterator[Listed]:
        """Iterate over all ids that a client can request, ready or not."""
        for id_ in self.ids().of(*REQUESTABLE):
            yield self.find(id_)

    def ids(self) -> ModelIds:
        """Return all current ids, including external models."""
        routing, external = self._engine_registry.routing, self._external()
        if self._cache_key is None or self._cache_key[0] is not routing or self._cache_key[1] is not external:
            self._cache_key = routing, external
            self._ids = running(
                self._configured,
                models=routing["models"],
                alias=routing["alias"],
                external=external,
                bases=routing.get("bases", {}),
            )
        return self._ids

    def find(self, id_: str) -> Listed:
        """Return the entry of an id; raises UnknownModel."""
        entry = self._named(id_)
        if entry.kind == "embedder":
            return self._embedder_of(id_)
        if entry.kind == "agent":
            return Listed(id_, "agent", id_, is_ready=True)  # it reports a missing model itself
        model = self._answerer(entry)
        state = self._engine_registry.state(model)
        return Listed(id_, entry.kind, model, state.ready, state.reason)

    def answers(self, id_: str) -> str:
        """Return the id of the model or agent that generates for `id_`; raises UnknownModel."""
        return self._answerer(self._named(id_))

    def agent(self, id_: str) -> Agent | None:
        """Return the agent of a model id; None if it is not an agent's."""
        entry = self.ids().find(id_)
        return self._agents.find(id_) if entry is not None and entry.kind == "agent" else None

    def active(self) -> str:
        """Return the current target of the alias; raises UnknownModel."""
        return self.answers(self._engine_registry.routing["alias"])

    def agents_model(self) -> str:
        """Return the model that agents use; raises UnknownModel."""
        return self.answers(self._agents_model or self._engine_registry.routing["alias"])

    def is_known(self, id_: str) -> bool:
        """Whether the id exists."""
        return self.ids().find(id_) is not None or self._configured.find(id_) is not None

    def is_external(self, id_: str) -> bool:
        """Whether the id is an external model's."""
        entry = self.ids().find(id_)
        return entry is not None and entry.kind == "external"

    def states(self) -> dict[str, ModelState]:
        """Return the state of every model and adapter."""
        return {id_: self._engine_registry.state(id_) for id_ in self.ids().of(*LOCAL)}

    def _named(self, id_: str) -> ModelId:
        entry = self.ids().find(id_)
        if entry is None or entry.kind not in REQUESTABLE:
            raise UnknownModel(id_)
        return entry

    def _answerer(self, entry: ModelId) -> str:
        answers = self._engine_registry.choose_active() if entry.kind == "alias" else entry.answers
        if not answers:
            raise UnknownModel(entry.id)
        return answers

    def _embedder_of(self, id_: str) -> Listed:
        embedder = self._embedder
        if embedder is None or embedder.model != id_:
            return Listed(id_, "embedder", None, is_ready=False, reason="it is deployed, and not in use yet")
        return Listed(id_, "embedder", None, embedder.ready, embedder.problem)
