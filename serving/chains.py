"""Who answers for a model: its own engines, then what its file names under `fallback`, in that order."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from serving.config_schema import ModelSpec
from serving.target import Target


class Chains:
    """The chain of every model.

    Args:
        catalogue: the models by id.
        local: makes the target of a local model, of which the configuration may have learnt after the start.
        external: the models outside, by id; None for those that have no key.

    """

    def __init__(
        self,
        catalogue: Mapping[str, ModelSpec],
        local: Callable[[str], Target],
        external: Mapping[str, Target | None],
    ) -> None:
        self._catalogue = catalogue
        self._local = local
        self._targets = dict(external)
        self._chains: dict[str, Sequence[Target]] = {}

    def of(self, model: str) -> Sequence[Target]:
        """The targets to ask for `model`, which is served; one that was not configured at start has only itself."""
        chain = self._chains.get(model)
        if chain is None:
            spec = self._catalogue.get(model)
            found = [self._target(name) for name in (model, *(spec.fallback if spec else ()))]
            chain = self._chains[model] = [target for target in found if target is not None]
        return chain

    def queue_depth(self) -> dict[str, float]:
        """How many requests wait for admission, by class."""
        depth: Counter[str] = Counter()
        for target in self._targets.values():
            if target is not None:
                depth.update(target.waiting())
        return dict(depth)

    def _target(self, name: str) -> Target | None:
        if name not in self._targets:
            self._targets[name] = self._local(name)
        return self._targets[name]
