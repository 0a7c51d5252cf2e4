"""The reason for a recommendation in words; every item has one."""

from collections.abc import Sequence

from agents.music.catalogue import Track
from agents.music.query import TrackQuery

NAMES = {
    "bn": "Bengali", "hi": "Hindi", "en": "English", "es": "Spanish", "pt": "Portuguese", "fr": "French",
    "de": "German", "it": "Italian", "ja": "Japanese", "ko": "Korean", "ar": "Arabic", "ur": "Urdu", "ta": "Tamil",
    "te": "Telugu", "pa": "Punjabi", "zh": "Chinese", "ru": "Russian", "tr": "Turkish", "zxx": "without words",
}  # fmt: skip
_FOR = {
    "study": "to study to",
    "sleep": "to fall asleep to",
    "run": "to run to",
    "work": "to work to",
    "party": "to dance to",
}


def why_of(track: Track, query: TrackQuery, liked: Sequence[str], *, is_like: bool = False) -> str:
    """The criteria that it meets, then the person's likes; otherwise that it is new.

    `is_like`: those who hear the artist that was named hear this.
    """
    reasons = []
    if track.artist in query.artists:
        reasons.append(f"it is by {track.artist}")
    elif is_like:
        reasons.append(f"people who listen to {query.artists[0]} listen to it too")
    if track.mood in query.moods:
        reasons.append(f"it is {track.mood}")
    if track.genre and track.genre in query.genres:
        reasons.append(f"it is {track.genre}")
    if track.language in query.languages:
        reasons.append("it is without words" if track.language == "zxx" else f"it is in {_language(track.language)}")
    if query.decade and track.year // 10 * 10 == query.decade:
        reasons.append(f"it is of the {query.decade}s")
    if query.context:
        reasons.append(f"its pace is one {_FOR[query.context]}")
    likes = [_liked(name) for name in liked[:2]]
    if likes:
        reasons.append(f"you like {' and '.join(likes)}")
    if reasons:
        return ", and ".join(reasons[:3])
    known = " ".join(each for each in (track.mood, track.genre) if each not in ("", "unknown"))
    return f"something for a start: {known}" if known else "something for a start"


def _liked(feature: str) -> str:
    kind, _, value = feature.partition(":")
    phrases = {
        "language": "songs without words" if value == "zxx" else f"songs in {_language(value)}",
        "decade": f"the {value}s",
        "energy": f"a {value} pace",
        "mood": f"{value} songs",
    }
    return phrases.get(kind, value)


def _language(code: str) -> str:
    return NAMES.get(code, code)
