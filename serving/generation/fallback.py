"""Fallback chains: a model's own engines, then the targets of `fallback` in its file, in that order."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from serving.generation.target import Target


class FallbackChains:
    """The fallback chain of every model.

    Args:
        local: makes the target of a local model, which may have been configured after the start.
        waiting: yields the number of waiting requests by class for each engine.
        is_external: whether an id is that of an external model.

    """

    def __init__(
        self,
        local: Callable[[str], Target],
        waiting: Callable[[], Iterable[Mapping[str, int]]],
        is_external: Callable[[str], bool],
    ) -> None:
        self._make_local = local
        self._waiting = waiting
        self._is_external = is_external
        self._local: dict[str, Target] = {}
        self._fallback: Mapping[str, Sequence[str]] = {}
        self._external: Mapping[str, Target | None] = {}
        self._chains: dict[str, Sequence[Target]] = {}

    def reload(self, fallback: Mapping[str, Sequence[str]], external: Mapping[str, Target | None]) -> None:
        """Apply new settings to chains that are used from now on.

        Args:
            fallback: the fallback ids of each model.
            external: the external targets by id; None for those without a key.

        """
        self._fallback, self._external, self._chains = fallback, external, {}

    def of(self, model: str) -> Sequence[Target]:
        """The targets to try in order for `model`, which must be served."""
        chain = self._chains.get(model)
        if chain is None:
            found = [self._target(name) for name in (model, *self._fallback.get(model, ()))]
            chain = self._chains[model] = [target for target in found if target is not None]
        return chain

    def queue_depth(self) -> dict[str, float]:
        """The number of requests that wait for admission, by class."""
        depth: Counter[str] = Counter()
        for numbers in self._waiting():
            depth.update(numbers)
        return dict(depth)

    def _target(self, name: str) -> Target | None:
        if self._is_external(name):
            return self._external.get(name)
        if name not in self._local:
            self._local[name] = self._make_local(name)
        return self._local[name]
