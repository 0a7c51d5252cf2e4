"""The external models of one gateway worker: created from the settings, and replaced when those change.

A target with unchanged settings is kept, with the state of its breaker. A replaced target is closed with the worker, so
that its running requests are not cut off. `make` decides which provider a target calls.
"""

from collections.abc import Callable, Mapping

from serving.config.reloadable import ReloadableSettings
from serving.config.schema import ExternalSpec
from serving.generation.external import ExternalTarget
from serving.privacy.detector import Detect, detector


class ExternalPool:
    """The external targets by id.

    Args:
        make: makes a target from its id, its settings and the detector; None for a provider without a key.

    """

    def __init__(self, make: Callable[[str, ExternalSpec, Detect], ExternalTarget | None]) -> None:
        self._make = make
        self._words: Mapping[str, tuple[str, ...]] = {}
        self._detect = detector({})
        self._made: dict[str, tuple[ExternalSpec, ExternalTarget | None]] = {}
        self._replaced: list[ExternalTarget] = []

    def reload(self, new: ReloadableSettings) -> dict[str, ExternalTarget | None]:
        """Apply new settings; returns the targets by id, None for those that are off."""
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
        """The classes of private content in a text, by the current settings."""
        return self._detect(text)

    def breakers(self) -> dict[str, bool]:
        """Whether each target's breaker is open, by its id."""
        return {id_: target.is_open for id_, (_, target) in self._made.items() if target is not None}

    async def close(self) -> None:
        """Close the connections of all targets, including replaced ones."""
        for target in [*self._replaced, *(target for _, target in self._made.values())]:
            if target is not None:
                await target.close()
