"""The settings that reach a running gateway, and how: with the routing table, when `bondhu apply` is run.

They travel in the directory's configuration, which every worker polls, so that all of them take the same, also one that
starts later on another machine, and `apply --plan` shows them like any other change. `bondhu apply` has checked them;
what this version cannot read nevertheless is logged, and what held before goes on holding. It does not know what
follows from a setting.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from serving.config.schema import (
    ConsentSettings,
    ExternalSpec,
    Frozen,
    ServiceFile,
    Settings,
    TierName,
    TierSpec,
    TokenPrice,
)

log = logging.getLogger(__name__)

LOOK_S = 0.5  # between two looks at what the last poll of the directory brought


class ReloadableSettings(Frozen):
    """What may change while a gateway runs. `fallback` and `engine_second_usd` are the model files', by model."""

    consent: ConsentSettings
    external: dict[str, ExternalSpec]
    prices: dict[str, TokenPrice]
    tiers: dict[TierName, TierSpec]
    fallback: dict[str, tuple[str, ...]]
    engine_second_usd: dict[str, Decimal]


def reloadable_of(settings: Settings) -> ReloadableSettings:
    """The live part of the whole configuration; of models, those that are served."""
    served = settings.served()
    return ReloadableSettings(
        **{
            name: getattr(settings, name)
            for name in ReloadableSettings.model_fields
            if name in ServiceFile.model_fields
        },
        fallback={name: spec.fallback for spec in served if spec.fallback for name in spec.names},
        engine_second_usd={
            name: spec.gpu_second_usd for spec in served if spec.gpu_second_usd is not None for name in spec.names
        },
    )


def sent(settings: Settings) -> dict[str, Any]:
    """The live settings as they travel: plain JSON."""
    return reloadable_of(settings).model_dump(mode="json")


class SettingsWatcher:
    """A gateway worker's live settings.

    Args:
        first: those that it was started with.
        told: what the directory last said of them; None for a directory that knows nothing of them.
        use: has the worker's parts use what is new.

    """

    def __init__(
        self,
        first: ReloadableSettings,
        told: Callable[[], Mapping[str, Any] | None],
        use: Callable[[ReloadableSettings], None],
    ) -> None:
        self.settings = first
        self._told = told
        self._use = use
        self._seen: Mapping[str, Any] | None = first.model_dump(mode="json")

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Take what is new; what cannot be read changes nothing."""
        told = self._told()
        if told is None or told == self._seen:
            return
        self._seen = told
        try:
            new = ReloadableSettings.model_validate(told)
        except ValidationError as problem:
            log.error("settings that were applied cannot be read, those of before still hold: %s", problem)
            return
        changed = [
            name for name in ReloadableSettings.model_fields if getattr(new, name) != getattr(self.settings, name)
        ]
        self.settings = new
        self._use(new)
        log.info("new settings hold: %s", ", ".join(changed))
