"""The models outside of one gateway worker: made from their settings, and made anew when those change.

A target whose settings stay the same stays, and with it what its breaker knows. One that is replaced is closed with the
worker and not before: requests that it answers are not cut off. Which provider a target speaks to is said in `make`.
"""

from collections.abc import Callable, Mapping

from serving.config.reloadable import ReloadableSettings
from serving.config.schema import ExternalSpec
from serving.generation.external import ExternalTarget
from serving.privacy.detector import Detect, detector


class ExternalPool:
    """The targets outside, by id.

    Args:
        make: a target from its id, its settings and what finds private things in a text; None for a provider whose key
            is not known.

    """

    def __init__(self, make: Callable[[str, ExternalSpec, Detect], ExternalTarget | None]) -> None:
        self._make = make
        self._words: Mapping[str, tuple[str, ...]] = {}
        self._detect = detector({})
        self._made: dict[str, tuple[ExternalSpec, ExternalTarget | None]] = {}
        self._replaced: list[ExternalTarget] = []

    def reload(self, new: ReloadableSettings) -> dict[str, ExternalTarget | None]:
        """The targets of these settings, by id; None for those that are off."""
        if new.consent.words != self._words:
            self._words, self._detect = new.consent.words, detector(new.consent.words)
        before, self._made = self._made, {}
        for id_, spec in new.external.items():
            known = before.get(id_)
            same = known is not None and known[0] == spec
            self._made[id_] = known if known and same else (spec, self._make(id_, spec, self.detect))
        kept = {id(target) for _, target in self._made.values()}
        self._replaced += [target for _, target in before.values() if target is not None and id(target) not in kept]
        return {id_: target for id_, (_, target) in self._made.items()}

    def detect(self, text: str) -> frozenset[str]:
        """Classes of private things in a text, by the words that hold now."""
        return self._detect(text)

    def breakers(self) -> dict[str, bool]:
        """Whether each target's breaker is open, by its id."""
        return {id_: target.is_open for id_, (_, target) in self._made.items() if target is not None}

    async def close(self) -> None:
        """Close the connections of all, replaced ones too."""
        for target in [*self._replaced, *(target for _, target in self._made.values())]:
            if target is not None:
                await target.close()
