"""Reads a request for videos from words: topics, language, available time."""

import re

from pydantic import BaseModel, Field

from agents.video.channels import all_topics, words_of

MAX_COUNT = 10
_SYNONYMS = {
    "math": "maths", "mathematics": "maths", "cooking": "food", "cook": "food", "recipe": "food", "recipes": "food",
    "funny": "comedy", "laugh": "comedy", "joke": "comedy", "astronomy": "space", "universe": "space",
    "planets": "space", "stars": "space", "animals": "nature", "wildlife": "nature", "bird": "birds",
    "programming": "computing", "coding": "computing", "code": "computing", "computers": "computing",
    "computer": "computing", "diy": "making", "build": "making", "woodworking": "making", "tech": "technology",
    "gadgets": "technology", "game": "gaming", "games": "gaming", "movie": "film", "movies": "film",
    "cinema": "film", "garden": "gardening", "plants": "gardening", "relaxing": "calm", "relax": "calm",
    "learn": "learning", "study": "learning", "educational": "learning", "mind": "psychology",
    "podcast": "conversation", "interview": "conversation", "city": "cities", "language": "languages",
    "engineer": "engineering", "documentary": "explainers", "documentaries": "explainers", "cartoon": "animation",
}  # fmt: skip
_LANGUAGES = {
    "bn": r"bengali|bangla|বাংলা",
    "hi": r"hindi|हिन्दी|हिंदी",
    "en": r"english",
    "de": r"german",
    "fr": r"french",
    "ko": r"korean",
    "ar": r"arabic",
    "ru": r"russian",
    "tr": r"turkish",
    "fa": r"persian|farsi",
}
_MINUTES = re.compile(r"\b(\d{1,3})\s*(?:-\s*)?(?:min|mins|minutes?)\b")
_HOURS = re.compile(r"\b(?:(\d|an?|one|two|half an)\s+)hours?\b|\bhalf an hour\b")
_SHORT = re.compile(r"\b(?:short|quick|brief)\b")
_LONG = re.compile(r"\b(?:long|in depth|lecture)\b")
_HOUR = {"a": 60, "an": 60, "one": 60, "two": 120, "half an": 30}
SHORT_MINUTES, LONG_MINUTES = 10, 90


class VideoQuery(BaseModel):
    """A request for videos; every field is optional."""

    topics: list[str] = Field(default_factory=list, max_length=5)
    languages: list[str] = Field(default_factory=list, max_length=3)
    minutes: int = Field(default=0, ge=0, le=600, description="0: any")
    count: int = Field(default=5, ge=1, le=MAX_COUNT)


def parse_query(text: str) -> VideoQuery:
    """The query that a message expresses."""
    folded = text.casefold()
    known = all_topics()
    topics = [topic for word in words_of(folded) for topic in [_SYNONYMS.get(word, word)] if topic in known]
    languages = [name for name, words in _LANGUAGES.items() if re.search(rf"(?<!\w)(?:{words})(?!\w)", folded)]
    return VideoQuery(topics=list(dict.fromkeys(topics))[:5], languages=languages[:3], minutes=_minutes_of(folded))


def _minutes_of(text: str) -> int:
    minutes, hours = _MINUTES.search(text), _HOURS.search(text)
    if minutes:
        return min(int(minutes[1]), 600)
    if "half an hour" in text:
        return 30
    if hours:
        hours_text = hours[1]
        return int(hours_text) * 60 if hours_text.isdigit() else _HOUR[hours_text]
    if _SHORT.search(text):
        return SHORT_MINUTES
    return LONG_MINUTES if _LONG.search(text) else 0
