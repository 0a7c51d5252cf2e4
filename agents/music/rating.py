"""What kinds of music, languages and artists somebody speaks of, as features that taste is learned on."""

import re
from collections.abc import Mapping, Sequence

from agents.music.catalogue import Track
from agents.music.query import TrackQuery, parse_query


def features_of_query(query: TrackQuery) -> dict[str, float]:
    """What a sentence is about: kinds of music, languages, artists, moods."""
    return {
        **{f"genre:{each}": 1.0 for each in query.genres},
        **{f"language:{each}": 1.0 for each in query.languages},
        **{f"artist:{each}": 1.0 for each in query.artists},
        **{f"mood:{each}": 1.0 for each in query.moods},
        **({f"decade:{query.decade}": 1.0} if query.decade else {}),
    }


def parse_feedback(text: str, tracks: Sequence[Track]) -> tuple[TrackQuery, Mapping[str, float]]:
    """What the words are about."""
    about = parse_query(re.sub(r"\b(?:no|not|without|don'?t want)\b", " ", text, flags=re.IGNORECASE), tracks)
    return about, features_of_query(about)
