"""Which model ids there are: models, their adapters, the alias, embedders, the reranker, models outside, agents.

The one place that says so. What is configured is `declared`; a running gateway's ids are the same, with what its
routing table and its reloadable settings say (`serving.generation.catalogue`). It does not know whether any of them can
answer.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from agents.catalogue import model_ids as agent_ids
from serving.config.schema import ModelSpec, ServiceFile

Kind = Literal["model", "adapter", "alias", "embedder", "reranker", "external", "agent"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LOCAL = frozenset[Kind]({"model", "adapter"})  # an engine of the service's own answers
GENERATING = frozenset[Kind]({"model", "adapter", "alias", "agent"})  # a client may ask them for a generation


@dataclass(frozen=True, slots=True)
class ModelId:
    """One id.

    Attributes:
        id: the name.
        kind: what it names.
        answers: the id of who answers a request for a generation: for the alias, what it means where that is known; "":
            nobody.
        file: the model file whose engine that is; "": none's.
        is_served: whether it is part of the service as it is configured.

    """

    id: str
    kind: Kind
    answers: str = ""
    file: str = ""
    is_served: bool = True


class ModelIds:
    """Ids by name; of two with one name the first stands."""

    def __init__(self, entries: Iterable[ModelId]) -> None:
        self._entries: dict[str, ModelId] = {}
        self._clashes: list[tuple[ModelId, ModelId]] = []
        for entry in entries:
            first = self._entries.setdefault(entry.id, entry)
            if first is not entry:
                self._clashes.append((first, entry))

    def __iter__(self) -> Iterator[ModelId]:
        return iter(self._entries.values())

    def find(self, id_: str) -> ModelId | None:
        """What an id names; None: nothing."""
        return self._entries.get(id_)

    def answers(self, id_: str) -> str:
        """Who answers a request for a generation that names `id_`; "": nobody."""
        found = self.find(id_)
        return found.answers if found else ""

    def of(self, *kinds: Kind, served: bool = False) -> list[str]:
        """The ids of these kinds (of all, where none is named), in the order of registration."""
        wanted = kinds or KINDS
        return [each.id for each in self if each.kind in wanted and (each.is_served or not served)]

    def clashes(self) -> list[tuple[ModelId, ModelId]]:
        """Two that want one name, the one that has it first. Files that are not served together may share names."""
        return [
            (first, second)
            for first, second in self._clashes
            if second.kind != "reranker"  # nobody asks it by its name
            and (not {first.kind, second.kind} <= LOCAL or (first.is_served and second.is_served))
        ]


def declared(service: ServiceFile, files: Mapping[str, ModelSpec]) -> ModelIds:
    """The ids that a configuration makes; `files` are the model files by id, of which some may be missing."""
    return ModelIds(_declared(service, files))


def _declared(service: ServiceFile, files: Mapping[str, ModelSpec]) -> Iterator[ModelId]:
    served = [name for name in dict.fromkeys((service.models.active, *service.models.also)) if name in files]
    for name in (*served, *(name for name in files if name not in served)):
        yield from of_file(files[name], is_served=name in served)
    active = files.get(service.models.active)
    yield ModelId(service.models.alias, "alias", active.default_name if active else "", active.id if active else "")
    yield from (ModelId(id_, "embedder") for id_ in dict.fromkeys(spec.id for spec in service.embedder.in_use))
    if service.reranker is not None:
        yield ModelId(service.reranker.path, "reranker")
    yield from (ModelId(id_, "external", id_) for id_ in service.external)
    yield from (ModelId(id_, "agent", id_) for id_ in agent_ids())


def running(configured: ModelIds, *, models: Iterable[str], alias: str, external: Iterable[str]) -> ModelIds:
    """The ids of a running service, whose models, alias and models outside may have changed since its start."""

    def entries() -> Iterator[ModelId]:
        for name in models:
            known = configured.find(name)
            is_local = known is not None and known.kind in LOCAL
            yield replace(known, is_served=True) if known and is_local else ModelId(name, "model", name, name)
        yield ModelId(alias, "alias")
        yield from (each for each in configured if each.kind in ("embedder", "reranker", "agent"))
        yield from (ModelId(id_, "external", id_) for id_ in external)

    return ModelIds(entries())


def of_file(spec: ModelSpec, *, is_served: bool) -> Iterator[ModelId]:
    """A model and its adapters."""
    yield ModelId(spec.id, "model", spec.id, spec.id, is_served)
    yield from (ModelId(each.id, "adapter", each.id, spec.id, is_served) for each in spec.adapters)


def article(kind: Kind) -> str:
    """The kind as a sentence names it."""
    name = {"external": "external model"}.get(kind, str(kind))
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
