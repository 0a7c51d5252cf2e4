"""Why a recording was chosen, in words; every item has some."""

from collections.abc import Sequence

from agents.music.catalogue import Track
from agents.music.wanted import Wanted

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


def why_of(track: Track, wanted: Wanted, liked: Sequence[str]) -> str:
    """What was asked for that it has, then what they like; else that it is something new."""
    asked = []
    if track.artist in wanted.artists:
        asked.append(f"it is by {track.artist}")
    if track.mood in wanted.moods:
        asked.append(f"it is {track.mood}")
    if track.genre and track.genre in wanted.genres:
        asked.append(f"it is {track.genre}")
    if track.language in wanted.languages:
        asked.append("it is without words" if track.language == "zxx" else f"it is in {_language(track.language)}")
    if wanted.decade and track.year // 10 * 10 == wanted.decade:
        asked.append(f"it is of the {wanted.decade}s")
    if wanted.context:
        asked.append(f"its pace is one {_FOR[wanted.context]}")
    likes = [_liked(name) for name in liked[:2]]
    if likes:
        asked.append(f"you like {' and '.join(likes)}")
    return ", and ".join(asked[:3]) if asked else f"something for a start: {track.mood} {track.genre}".strip()


def _liked(feature: str) -> str:
    kind, _, value = feature.partition(":")
    told = {
        "language": "songs without words" if value == "zxx" else f"songs in {_language(value)}",
        "decade": f"the {value}s",
        "energy": f"a {value} pace",
        "mood": f"{value} songs",
    }
    return told.get(kind, value)


def _language(code: str) -> str:
    return NAMES.get(code, code)
