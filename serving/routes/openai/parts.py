"""What generating routes use of a gateway worker: no more, whichever protocol their clients speak."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from serving.config.schema import Settings, TierSpec
from serving.generation.catalogue import ModelCatalogue
from serving.generation.degraded import Degraded
from serving.generation.planner import Planner
from serving.ledger.ledger import Ledger
from serving.limits.limiter import Limiter
from serving.streams.recorder import Recorder


@dataclass(frozen=True, slots=True)
class GeneratingParts:
    """The collaborators of generating routes.

    `tiers` returns the present tiers by name; `count_unchecked` counts a request that the safety step does not read, by
    the reason.
    """

    settings: Settings
    models: ModelCatalogue
    planner: Planner
    recorder: Recorder
    ledger: Ledger
    limiter: Limiter
    degraded: Degraded
    tiers: Callable[[], Mapping[str, TierSpec]]
    count_unchecked: Callable[[str], None]
