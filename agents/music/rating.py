"""What kinds of music, languages and artists somebody speaks of, as features that taste is learned on."""

import re
from collections.abc import Mapping, Sequence

from agents.music.catalogue import Track
from agents.music.wanted import Wanted, wanted_of


def features_said(wanted: Wanted) -> dict[str, float]:
    """What a sentence is about: kinds of music, languages, artists, moods."""
    return {
        **{f"genre:{each}": 1.0 for each in wanted.genres},
        **{f"language:{each}": 1.0 for each in wanted.languages},
        **{f"artist:{each}": 1.0 for each in wanted.artists},
        **{f"mood:{each}": 1.0 for each in wanted.moods},
        **({f"decade:{wanted.decade}": 1.0} if wanted.decade else {}),
    }


def said_of(text: str, tracks: Sequence[Track]) -> tuple[Wanted, Mapping[str, float]]:
    """What the words are about."""
    about = wanted_of(re.sub(r"\b(?:no|not|without|don'?t want)\b", " ", text, flags=re.IGNORECASE), tracks)
    return about, features_said(about)
