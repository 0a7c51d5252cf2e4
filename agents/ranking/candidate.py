"""A candidate for ranking: an id, a group, and sparse features. It does not know songs or videos."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to recommend.

    Attributes:
        id: of the item.
        group: its artist or channel; only few items of a group are shown together.
        features: name to weight, e.g. `{"genre:jazz": 1.0}`; taste is learned from them.
        fit: how well it fits the request, -1 to 1.

    """

    id: str
    group: str
    features: Mapping[str, float]
    fit: float = 0.0


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate that was chosen, its score, and the features that spoke most for it, strongest first."""

    candidate: Candidate
    score: float
    liked: Sequence[str] = field(default_factory=tuple)
