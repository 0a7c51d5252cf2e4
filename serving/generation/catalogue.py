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

ASKED: frozenset[Kind] = GENERATING | {"embedder"}  # what a client may name


class EmbedderState(Protocol):
    """The state of the embedder."""

    @property
    def model(self) -> str:
        """Its id."""

    @property
    def ready(self) -> bool:
        """Whether it can answer."""

    @property
    def problem(self) -> str | None:
        """Why it cannot."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A model id. `root` is the model that answers for it: the alias's is the active one; None: no generating model."""

    id: str
    kind: Kind
    root: str | None
    is_ready: bool
    reason: str | None = None


class ModelCatalogue:
    """All ids of one gateway worker.

    Args:
        configured: the ids that it was started with.
        engine_registry: the served models and their alias.
        embedder: None: off.
        agents: by id.
        external: the ids of models outside, as they are now.
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
        self._made_of: tuple[Routing, Collection[str]] | None = None
        self._ids = configured

    def __iter__(self) -> Iterator[Listed]:
        """Every id that a client may name, ready or not."""
        for id_ in self.ids().of(*ASKED):
            yield self.find(id_)

    def ids(self) -> ModelIds:
        """Every id that means something now, models outside included."""
        routing, external = self._engine_registry.routing, self._external()
        if self._made_of is None or self._made_of[0] is not routing or self._made_of[1] is not external:
            self._made_of = routing, external
            self._ids = running(self._configured, models=routing["models"], alias=routing["alias"], external=external)
        return self._ids

    def find(self, id_: str) -> Listed:
        """Return the entry of an id; raises UnknownModel."""
        found = self._named(id_)
        if found.kind == "embedder":
            return self._embedder_of(id_)
        if found.kind == "agent":
            return Listed(id_, "agent", id_, is_ready=True)  # without a model it says so itself
        model = self._answerer(found)
        state = self._engine_registry.state(model)
        return Listed(id_, found.kind, model, state.ready, state.reason)

    def answers(self, id_: str) -> str:
        """The id of the model or agent that answers a request for a generation; raises UnknownModel."""
        return self._answerer(self._named(id_))

    def agent(self, id_: str) -> Agent | None:
        """The agent of a model id; None for an id that is none's."""
        found = self.ids().find(id_)
        return self._agents.find(id_) if found is not None and found.kind == "agent" else None

    def active(self) -> str:
        """The model that the alias means now; raises UnknownModel."""
        return self.answers(self._engine_registry.routing["alias"])

    def agents_model(self) -> str:
        """The model that agents ask; raises UnknownModel."""
        return self.answers(self._agents_model or self._engine_registry.routing["alias"])

    def is_known(self, id_: str) -> bool:
        """Whether there is such an id."""
        return self.ids().find(id_) is not None or self._configured.find(id_) is not None

    def is_external(self, id_: str) -> bool:
        """Whether it is a model outside's."""
        found = self.ids().find(id_)
        return found is not None and found.kind == "external"

    def states(self) -> dict[str, ModelState]:
        """Return the state of every model and adapter."""
        return {id_: self._engine_registry.state(id_) for id_ in self.ids().of(*LOCAL)}

    def _named(self, id_: str) -> ModelId:
        found = self.ids().find(id_)
        if found is None or found.kind not in ASKED:
            raise UnknownModel(id_)
        return found

    def _answerer(self, found: ModelId) -> str:
        answers = self._engine_registry.active if found.kind == "alias" else found.answers
        if not answers:
            raise UnknownModel(found.id)
        return answers

    def _embedder_of(self, id_: str) -> Listed:
        embedder = self._embedder
        if embedder is None or embedder.model != id_:
            return Listed(id_, "embedder", None, is_ready=False, reason="it is deployed, and not in use yet")
        return Listed(id_, "embedder", None, embedder.ready, embedder.problem)
