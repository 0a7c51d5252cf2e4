"""Who answers for a model: its own engines, then what its file names under `fallback`, in that order."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from serving.generation.target import Target


class FallbackChains:
    """The chain of every model.

    Args:
        local: makes the target of a local model, of which the configuration may have learnt after the start.
        waiting: how many requests wait for local models' engines, by class, once for each engine.

    """

    def __init__(self, local: Callable[[str], Target], waiting: Callable[[], Iterable[Mapping[str, int]]]) -> None:
        self._make_local = local
        self._waiting = waiting
        self._local: dict[str, Target] = {}
        self._fallback: Mapping[str, Sequence[str]] = {}
        self._external: Mapping[str, Target | None] = {}
        self._chains: dict[str, Sequence[Target]] = {}

    def reload(self, fallback: Mapping[str, Sequence[str]], external: Mapping[str, Target | None]) -> None:
        """Have chains begun from now on follow these settings.

        Args:
            fallback: by model, who answers when it cannot.
            external: the models outside, by id; None for those that have no key.

        """
        self._fallback, self._external, self._chains = fallback, external, {}

    def of(self, model: str) -> Sequence[Target]:
        """The targets to ask for `model`, which is served."""
        chain = self._chains.get(model)
        if chain is None:
            found = [self._target(name) for name in (model, *self._fallback.get(model, ()))]
            chain = self._chains[model] = [target for target in found if target is not None]
        return chain

    def queue_depth(self) -> dict[str, float]:
        """How many requests wait for admission, by class."""
        depth: Counter[str] = Counter()
        for numbers in self._waiting():
            depth.update(numbers)
        return dict(depth)

    def _target(self, name: str) -> Target | None:
        if name in self._external:
            return self._external[name]
        if name not in self._local:
            self._local[name] = self._make_local(name)
        return self._local[name]
