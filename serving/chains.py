"""Who answers for a model: its own engines, then what its file names under `fallback`, in that order."""

from collections.abc import Mapping, Sequence
from functools import partial

from serving.config_schema import ModelSpec
from serving.external_target import ExternalTarget
from serving.local_target import LocalTarget
from serving.target import Target


class Chains:
    """The chain of every model.

    Args:
        catalogue: the models by id.
        local: makes a target of a local model's id and timeouts.
        external: the models outside, by id; None for those that have no key.

    """

    def __init__(
        self,
        catalogue: Mapping[str, ModelSpec],
        local: "partial[LocalTarget]",
        external: Mapping[str, ExternalTarget | None],
    ) -> None:
        self._catalogue = catalogue
        self._local = local
        self._external = external
        self._made: dict[str, tuple[Target, ...]] = {}

    def of(self, model: str) -> Sequence[Target]:
        """The targets to ask for `model`; a model that the configuration did not know at start has only itself."""
        chain = self._made.get(model)
        if chain is None:
            chain = self._made[model] = tuple(self._make(model))
        return chain

    def _make(self, model: str) -> list[Target]:
        spec = self._catalogue.get(model)
        names = (model, *(spec.fallback if spec else ()))
        return [target for name in names if (target := self._target(name)) is not None]

    def _target(self, name: str) -> Target | None:
        if name in self._external:
            return self._external[name]
        spec = self._catalogue.get(name)
        timeouts = (spec.ttft_timeout_s, spec.stall_timeout_s) if spec else (None, None)
        return self._local(name, ttft_timeout_s=timeouts[0], stall_timeout_s=timeouts[1])
