"""The catalogue of model ids: models, adapters, the alias, embedders, the reranker, external models, agents.

All other modules use this catalogue. `declared` are the configured ids; those of a running gateway also depend on its
routing table and its reloadable settings (`serving.generation.catalogue`). This module does not know which models are
ready.
"""

import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from agents.catalogue import model_ids as agent_ids
from serving.config.schema import ModelSpec, ServiceFile

Kind = Literal["model", "adapter", "alias", "embedder", "reranker", "external", "agent"]
KINDS: tuple[Kind, ...] = get_args(Kind)
LOCAL = frozenset[Kind]({"model", "adapter"})  # run on the service's own engines
GENERATING = frozenset[Kind]({"model", "adapter", "alias", "agent"})  # available for generations


@dataclass(frozen=True, slots=True)
class ModelId:
    """A model id.

    Attributes:
        id: the name.
        kind: what it names.
        answers: the id of the model that generates; for the alias its target, if known; "": none.
        file: the model file of its engine; "": none.
        is_served: whether the configured service includes it.

    """

    id: str
    kind: Kind
    answers: str = ""
    file: str = ""
    is_served: bool = True


class ModelIds:
    """Model ids by name; for a duplicate name, the first one is used."""

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
        """Return the entry of an id; None if it is unknown."""
        return self._entries.get(id_)

    def answers(self, id_: str) -> str:
        """Return the id of the model that generates for `id_`; "" if there is none."""
        entry = self.find(id_)
        return entry.answers if entry else ""

    def of(self, *kinds: Kind, served: bool = False) -> list[str]:
        """Return the ids of these kinds (default: all), in the order of registration."""
        selected = kinds or KINDS
        return [entry.id for entry in self if entry.kind in selected and (entry.is_served or not served)]

    def clashes(self) -> list[tuple[ModelId, ModelId]]:
        """Return pairs of entries with the same name. Model files that are not served together may share names."""
        return [
            (first, second)
            for first, second in self._clashes
            if second.kind != "reranker"  # requests do not name it
            and (not {first.kind, second.kind} <= LOCAL or (first.is_served and second.is_served))
        ]


def declared(service: ServiceFile, files: Mapping[str, ModelSpec]) -> ModelIds:
    """Return the ids of a configuration; `files` are the model files by id, some of which may be missing."""
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


def running(
    configured: ModelIds,
    *,
    models: Iterable[str],
    alias: str,
    external: Iterable[str],
    bases: Mapping[str, str] = types.MappingProxyType({}),
) -> ModelIds:
    """Return the ids of a running service, whose models, alias and external models may have changed since its start.

    `bases` has the model of each adapter.
    """

    def entries() -> Iterator[ModelId]:
        for name in models:
            entry = configured.find(name)
            is_local = entry is not None and entry.kind in LOCAL
            if entry and is_local:
                yield replace(entry, is_served=True)
            else:
                yield ModelId(name, "adapter" if name in bases else "model", name, bases.get(name, name))
        yield ModelId(alias, "alias")
        yield from (entry for entry in configured if entry.kind in ("embedder", "reranker", "agent"))
        yield from (ModelId(id_, "external", id_) for id_ in external)

    return ModelIds(entries())


def of_file(spec: ModelSpec, *, is_served: bool) -> Iterator[ModelId]:
    """The entries of a model and its adapters."""
    yield ModelId(spec.id, "model", spec.id, spec.id, is_served)
    yield from (ModelId(adapter.id, "adapter", adapter.id, spec.id, is_served) for adapter in spec.adapters)


def article(kind: Kind) -> str:
    """Return the kind with its article, for messages."""
    name = {"external": "external model"}.get(kind, str(kind))
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
