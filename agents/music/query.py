"""Reads a request for music from words: mood, genre, language, decade, artist, occasion."""

import re
from typing import Literal

from pydantic import BaseModel, Field

from agents.music.catalogue import Track, normal
from agents.music.vocabulary import Vocabulary

Context = Literal["", "study", "sleep", "run", "work", "party"]
MAX_COUNT = 30
_CONTEXTS: dict[Context, str] = {
    "study": r"পড়া\S*|पढ़ाई|पढ़ने|study(?:ing)?|focus|concentrat\w+|read(?:ing)?|homework|exam",
    "sleep": r"ঘুম\S*|सोने|नींद|sleep(?:ing|y)?|bed ?time|fall asleep|nap",
    "run": r"দৌড়\S*|दौड़\S*|run(?:ning)?|jog(?:ging)?|work ?out|gym|exercise|cardio",
    "work": r"work(?:ing)?(?! ?out)|office|coding",
    "party": r"পার্টি\S*|নাচ\S*|पार्टी|नाच\S*|party|danc(?:e|ing)|celebrat\w+",
}
MOOD_WORDS = {
    "calm": r"calm(?:ing)?|mellow|soothing|chill|relax\w*|quiet|peaceful|soft|slow|gentle|unwind|shanto|शांत|শান্ত",
    "cool": r"cool|groovy",
    "dark": r"dark|gloomy|brooding",
    "dreamy": r"dreamy|atmospheric|floating",
    "happy": r"happy|cheer\w*|upbeat|joyful|sunny|good mood|khushi|anondo|খুশি|মন ভালো|আনন্দ|खुश|खुशी",
    "hopeful": r"hope(?:ful)?|uplift\w*|inspir\w+|motivat\w+",
    "intense": r"intense|angry|loud|hard|energetic|energy|pump\w*",
    "longing": r"longing|nostalgi\w+|miss(?:ing)?|melanchol\w+|bittersweet",
    "party": r"party|danc(?:e|ing)",
    "romantic": r"romantic|love songs?|romance|valentine\w*",
    "sad": r"sad|heartbr\w+|cry(?:ing)?|blue|lonely|dukkho|দুঃখ|উদাস|उदास|दुखी|दर्द",
}
_LANGUAGES = {
    "bn": r"bengali|bangla|বাংলা",
    "hi": r"hindi|bollywood|हिन्दी|हिंदी",
    "en": r"english",
    "es": r"spanish|latin",
    "pt": r"portuguese|brazilian",
    "fr": r"french",
    "de": r"german",
    "it": r"italian",
    "ja": r"japanese",
    "ko": r"korean|k-?pop",
    "ar": r"arabic",
    "ur": r"urdu",
    "ta": r"tamil",
    "pa": r"punjabi",
    "zh": r"chinese|mandarin",
    "ru": r"russian",
    "zxx": r"instrumental|without (?:words|lyrics|vocals)|no (?:lyrics|vocals)",
}
_NOT = re.compile(r"\b(?:no|not|without|except|but not|don'?t want)\s+(?:any\s+)?([\w -]{2,20})", re.IGNORECASE)
_DECADE = re.compile(r"\b(?:19|20)?([2-9]0|00|10|20)'?s\b")
_COUNT = re.compile(r"\b(\d{1,2})\s+(?:[\w-]+\s+){0,3}(?:songs?|tracks?|tunes?)\b")
_LIKE = (
    r"\b(?:songs?|music|something|anything|artists?|bands?|singers?|tracks?|tunes?|stuff|more|play|sounds?)\b[^.!?]{0,20}"
    r"\b(?:(?<!i )like|similar to|in the style of)\s{1,3}"
)
_ALIKE = r"(?:[ -]radio\b|.{0,4}\s?(?:মতো|মত|जैसे|जैसा|जैसी|की तरह|के जैसे)|.{0,5}\s(?:er moto|jaise|jaisa|ki tarah)\b)"


class TrackQuery(BaseModel):
    """A request for songs; every field is optional."""

    moods: list[str] = Field(default_factory=list, max_length=4)
    genres: list[str] = Field(default_factory=list, max_length=4)
    languages: list[str] = Field(default_factory=list, max_length=4)
    artists: list[str] = Field(default_factory=list, max_length=4)
    decade: int = 0
    context: Context = ""
    count: int = Field(default=5, ge=1, le=MAX_COUNT)
    explicit: bool = True
    similar: bool = Field(default=False, description="artists like the named one, too")


def parse_query(text: str, vocabulary: Vocabulary, *, count: int = 5) -> TrackQuery:
    """The query that a message expresses."""
    folded = text.casefold()
    refused = {normal(match) for match in _NOT.findall(folded)}
    plain = _NOT.sub(" ", folded) if not re.search(_LANGUAGES["zxx"], folded) else folded
    artists = vocabulary.artists_in(plain)
    for artist in artists:
        plain = plain.replace(artist.casefold(), " ")
    number, decade = _COUNT.search(plain), _DECADE.search(plain)
    return TrackQuery(
        moods=_named(MOOD_WORDS, plain)[:4],
        genres=[each for each in vocabulary.genres_in(plain) if normal(each) not in refused][:4],
        languages=_named(_LANGUAGES, plain)[:4],
        artists=artists[:4],
        decade=_decade(decade[1]) if decade else 0,
        context=next((name for name, words in _CONTEXTS.items() if re.search(rf"\b(?:{words})\b", plain)), ""),
        count=min(max(int(number[1]), 1), MAX_COUNT) if number else count,
        similar=any(_is_like(folded, artist.casefold()) for artist in artists[:1]),
        explicit=not re.search(r"\bclean\b|\bkids?\b|\bno swearing\b|\bnot explicit\b", folded),
    )


def _is_like(text: str, artist: str) -> bool:
    """Whether a text in lower case asks for what is like this artist's: "songs like …", "… এর মতো গান"."""
    name = re.escape(artist)
    return re.search(rf"{_LIKE}(?:the )?{name}(?!\w)|{name}{_ALIKE}", text) is not None


def fit_of(track: Track, query: TrackQuery) -> float:
    """How well a recording fits, -1 to 1: the share of matching criteria less contradictions."""
    checks = [
        (query.moods, track.mood in query.moods, 1.0),
        (query.genres, track.genre in query.genres, 1.2),
        (query.languages, track.language in query.languages, 1.5),
        (query.artists, track.artist in query.artists, 1.5),
        (query.decade, track.year // 10 * 10 == query.decade, 1.0),
        (query.context, _suits(track, query.context), 1.0),
    ]
    criteria = [(fits, weight) for is_set, fits, weight in checks if is_set]
    if not criteria:
        return 0.0
    return sum(weight if fits else -weight for fits, weight in criteria) / sum(weight for _, weight in criteria)


def _suits(track: Track, context: Context) -> bool:
    """Whether the recording suits the occasion."""
    if context == "sleep":
        return track.energy == 1 and track.mood not in ("dark", "sad")
    if context in ("study", "work"):
        return track.energy <= 3 and (track.language == "zxx" or track.mood in ("calm", "dreamy", "cool"))
    if context == "run":
        return track.energy >= 4 and track.mood != "sad"
    return track.energy >= 4 and track.mood in ("party", "happy")


def _named(table: dict[str, str], text: str) -> list[str]:
    return [name for name, words in table.items() if re.search(rf"(?<!\w)(?:{words})(?!\w)", text)]


def _decade(two: str) -> int:
    return int(two) + (1900 if int(two) >= 30 else 2000)
