"""Settings that `bondhu apply` changes in running gateways.

They are part of the directory's configuration, which every worker polls with the routing table. So all workers get the
same values, also one that starts later on another machine, and `apply --plan` shows them like any other change. A value
that this version cannot read is logged, and the previous settings stay in force. This module does not know what a
setting does.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from serving.config.frozen import Frozen
from serving.config.schema import (
    ConsentSettings,
    ExternalSpec,
    ServiceFile,
    Settings,
    TierName,
    TierSpec,
    TokenPrice,
)

log = logging.getLogger(__name__)

CHECK_S = 0.5  # between two checks for new settings


class ReloadableSettings(Frozen):
    """What can change while a gateway runs; `fallback` and `engine_second_usd` come from the model files, by model."""

    consent: ConsentSettings
    external: dict[str, ExternalSpec]
    prices: dict[str, TokenPrice]
    tiers: dict[TierName, TierSpec]
    fallback: dict[str, tuple[str, ...]]
    engine_second_usd: dict[str, Decimal]


def reloadable_of(settings: Settings) -> ReloadableSettings:
    """The reloadable part of the configuration, for the models that are served."""
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


def to_json(settings: Settings) -> dict[str, Any]:
    """The reloadable settings as plain JSON, for the routing table."""
    return reloadable_of(settings).model_dump(mode="json")


class SettingsWatcher:
    """Applies changed settings in a gateway worker.

    Args:
        first: the settings at start.
        fetch: returns the settings that the directory sent last; None when it sent none.

    """

    def __init__(self, first: ReloadableSettings, fetch: Callable[[], Mapping[str, Any] | None]) -> None:
        self.settings = first
        self._fetch = fetch
        self._reloads: list[Callable[[ReloadableSettings], None]] = []
        self._seen: Mapping[str, Any] | None = first.model_dump(mode="json")

    def subscribe(self, reload: Callable[[ReloadableSettings], None]) -> None:
        """Call `reload` with the settings now, and after every change."""
        self._reloads.append(reload)
        reload(self.settings)

    async def run(self) -> None:
        """Check for new settings until cancelled."""
        while True:
            self.check()
            await asyncio.sleep(CHECK_S)

    def check(self) -> None:
        """Apply new settings; invalid ones are logged and ignored."""
        current = self._fetch()
        if current is None or current == self._seen:
            return
        self._seen = current
        try:
            new = ReloadableSettings.model_validate(current)
        except ValidationError as problem:
            log.error("the applied settings are invalid; the previous ones stay in force: %s", problem)
            return
        changed = [
            name for name in ReloadableSettings.model_fields if getattr(new, name) != getattr(self.settings, name)
        ]
        self.settings = new
        for reload in self._reloads:
            reload(new)
        log.info("settings reloaded: %s", ", ".join(changed))
