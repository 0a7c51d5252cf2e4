"""The mood in a text about feelings, in the vocabulary of music requests."""

import re

from agents.music.query import MOOD_WORDS

_MORE = {
    "anxious": r"anxious|anxiety|worr(?:y|ied)|nervous|afraid|scared|stress(?:ed)?",
    "angry": r"angry|anger|furious|annoyed|mad at",
    "tired": r"tired|exhausted|burn(?:ed|t) out|drained",
    "proud": r"proud|grateful|thankful|relieved",
}
OTHER = "other"


def mood_of(text: str) -> str:
    """The first mood with a matching word; otherwise `other`."""
    folded = text.casefold()
    words = _MORE | MOOD_WORDS
    return next((mood for mood, each in words.items() if re.search(rf"(?<!\w)(?:{each})(?!\w)", folded)), OTHER)
