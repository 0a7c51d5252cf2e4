"""The genres, languages and artists in a sentence, as features from which taste is learned."""

import re
from collections.abc import Mapping

from agents.music.query import TrackQuery, parse_query
from agents.music.vocabulary import Vocabulary


def features_of_query(query: TrackQuery) -> dict[str, float]:
    """The genres, languages, artists and moods of a sentence."""
    return {
        **{f"genre:{each}": 1.0 for each in query.genres},
        **{f"language:{each}": 1.0 for each in query.languages},
        **{f"artist:{each}": 1.0 for each in query.artists},
        **{f"mood:{each}": 1.0 for each in query.moods},
        **({f"decade:{query.decade}": 1.0} if query.decade else {}),
    }


def parse_feedback(text: str, vocabulary: Vocabulary) -> tuple[TrackQuery, Mapping[str, float]]:
    """The subjects of a rating."""
    about = parse_query(re.sub(r"\b(?:no|not|without|don'?t want)\b", " ", text, flags=re.IGNORECASE), vocabulary)
    return about, features_of_query(about)
