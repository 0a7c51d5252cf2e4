"""Detects requests about remembering in a message: "remember this", "forget that", "don't bring that up again".

Only clear ones count: an order that is a whole sentence, by the patterns of a language (`memory.intents.languages`).
"I can't forget that day", "do you remember that?", "forget it, let's go" and text in quotation marks are not intents.
Neither is text that may be quoted from others: after a colon, beside code, or with a request to translate or summarise.
A message that sounds like a request to forget but is not clear is Unclear: nothing is done, and the person is asked.
This module uses patterns only (a model: `memory.intents.model_answer`), and does not know what executes the intent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import regex

from memory.intents.language import Action, IntentLanguage
from memory.intents.languages.bengali import BENGALI
from memory.intents.languages.english import ENGLISH
from memory.intents.languages.german import GERMAN
from memory.intents.languages.hindi import HINDI
from memory.intents.languages.spanish import SPANISH
from memory.unicode_text import nfc

MAX_CHARACTERS = 1000
MAX_LINES = 3  # beyond, it is a text, and its sentences are not said to the friend
LANGUAGES = (ENGLISH, GERMAN, SPANISH, HINDI, BENGALI)


@dataclass(frozen=True, slots=True)
class Remember:
    """Remember these words of the message; None: the person's previous turn."""

    quote: str | None


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget everything about these words of the message; None: the previous turn.

    `is_clause`: the words are a statement ("I live in Porto"), so texts that contradict it, or say it of others, are
    not meant. `by_model`: only a model found it (`memory.intents.model_answer`), so it is never done for good at once.
    """

    about: str | None
    is_clause: bool = field(default=False, compare=False)
    language: str = field(default="en", compare=False)
    by_model: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class ForgetAll:
    """Forget everything about the person."""


@dataclass(frozen=True, slots=True)
class Mute:
    """Mute everything about these words of the message, now and later; None: the previous turn."""

    about: str | None
    language: str = field(default="en", compare=False)


@dataclass(frozen=True, slots=True)
class Lift:
    """These words may be brought up again."""

    about: str
    language: str = field(default="en", compare=False)


@dataclass(frozen=True, slots=True)
class Undo:
    """Put back what was set aside last."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """It may be a request to forget; nothing is done until the person says it clearly."""


Intent = Remember | Forget | ForgetAll | Mute | Lift | Undo
Detected = Intent | Unclear


def detect(text: str) -> Detected | None:
    """The first intent in a person's message; Unclear if there may be one; None if there is none."""
    languages, lines = _triggered(text), text.strip().splitlines()
    if not languages:
        return None
    composed = nfc(text)
    plain = composed.translate(_STRAIGHT)
    found = _first_intent(plain, composed, languages)
    if isinstance(found, Remember) and found.quote is not None and found.quote not in text:
        return Remember(text.strip())  # the words stand in another normal form: all of the message, as it is
    if found is not None and len(lines) > 1:
        return None if isinstance(found, Remember) else Unclear()
    if found is None and len(lines) == 1 and _is_hinted(plain, languages):
        return Unclear()
    return found


def has_words_of_intents(text: str) -> bool:
    """Whether a message may have an intent at all; few do."""
    return bool(_triggered(text))


def may_be_quoted(text: str) -> bool:
    """Whether a message shows signs of others' words: quotation marks, a colon, a request to translate."""
    plain = nfc(text).translate(_STRAIGHT)
    return _may_be_pasted(plain, "", _triggered(text)) or len(text.strip().splitlines()) > 1


def _triggered(text: str) -> list[IntentLanguage]:
    """The languages whose words of intents a message has; none if it is too long, or code."""
    if len(text) > MAX_CHARACTERS or len(text.strip().splitlines()) > MAX_LINES:
        return []
    composed = nfc(text)
    languages = [each for each in LANGUAGES if each.is_triggered.search(composed)]
    return [] if not languages or _CODE.search(text) else languages


def is_pointing(text: str) -> bool:
    """Whether a message only refers to an earlier one, or asks to restore it, so it is nothing to forget itself."""
    return detect(text) in (Forget(None), Mute(None), Remember(None), Undo(), ForgetAll())


_STRAIGHT = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})  # each one character long
_SHORTENED = "".join(rf"(?<!\b{each})" for each in ("Mr", "Ms", "Mrs", "Dr", "St", "Prof", "[A-Za-z]"))
_END = regex.compile(rf"{_SHORTENED}[.!?\u2026\u0964\u0965]+(?=\s|$)|[\n\u2028\u2029]+")

# Signs of quoted text: code, slashes between the lines of a song, the last line of a letter.
_CODE = regex.compile(r"[`{}<>|]|/\*|\s/{1,2}\s|;\s*$|\w\(\w*\)|==|=>|->")
_COLON = regex.compile(r":(?!-?[)(DPp3|/*](?!\w))(?!\d)|\uff1a")  # none of a face's or a time's
_QUOTE = regex.compile(r"[\"\u00ab\u00bb\u2039\u203a\u201a\u201e\u300c-\u300f\uff02]|(?<!\w)'(?=\w)|(?<=[.,!?])'")


def _first_intent(plain: str, text: str, languages: list[IntentLanguage]) -> Detected | None:
    for start, end, asks in _sentences(plain):
        if _may_be_pasted(plain[:start], plain[end:], languages):
            continue
        for language in languages:
            is_request = not asks or language.is_polite.match(plain[start:end]) is not None
            for action, pattern in language.compiled:
                if not is_request and action != "unsure":  # a question is asked back at most
                    continue
                if match := pattern.fullmatch(plain, start, end):
                    intent = _made(action, match, text, language)
                    if intent is not None:
                        return intent
    return None


def _may_be_pasted(before: str, after: str, languages: list[IntentLanguage]) -> bool:
    """Whether a sentence may be quoted from others, judged by its context in the message."""
    if _COLON.search(before) or _QUOTE.search(before):
        return True
    return any(language.is_pasted.search(part) for language in languages for part in (before, after))


def _made(action: Action, match: regex.Match[str], text: str, language: IntentLanguage) -> Detected | None:
    """The intent that a pattern found; None if a closer look rejects it."""
    if action in _WITHOUT_WORDS:
        return _WITHOUT_WORDS[action]
    named = match.groupdict()
    is_clause = named.get("clause") is not None
    if not is_clause and named.get("about") is None:
        return Remember(None) if action == "remember" else Mute(None) if action == "mute" else Forget(None)
    start, end = match.span("clause" if is_clause else "about")
    about = text[start:end].strip()
    if action == "remember":
        if named.get("rest"):
            about = text[start:].strip().removesuffix(".")
        return Remember(about)
    if action == "mute":
        if _ALONE.fullmatch(about):
            idiom = about.lower() == "it" and regex.search(r"mention\s+it\W{0,30}$", match[0], regex.IGNORECASE)
            return None if idiom else Mute(None)
        if language.is_temporary.search(about):
            return None
    if (not is_clause and language.points.match(about)) or not regex.search(r"\w", about) or _QUOTE.search(about):
        return None
    if action == "mute":
        return Mute(about, language.code)
    return Lift(about, language.code) if action == "lift" else Forget(about, is_clause, language.code)


_WITHOUT_WORDS: dict[Action, Detected] = {"forget_all": ForgetAll(), "undo": Undo(), "unsure": Unclear()}
_ALONE = regex.compile(r"(?:that|this|it|das|eso|esto)(?:\s+(?:topic|subject|story|thing))?", regex.IGNORECASE)


def _is_hinted(plain: str, languages: list[IntentLanguage]) -> bool:
    """Whether a message without a clear intent sounds like a request to forget, and is not quoted from others."""
    if _COLON.search(plain) or _QUOTE.search(plain):
        return False
    return any(each.is_hinted.search(plain) and not each.is_pasted.search(plain) for each in languages)


def _sentences(text: str) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each sentence, without its mark, and whether it is a question; no quotations."""
    start = 0
    for end in [*_END.finditer(text), None]:
        stop = len(text) if end is None else end.start()
        sentence = text[start:stop]
        begin = start + len(sentence) - len(sentence.lstrip())
        asks = end is not None and "?" in end[0]
        if begin < stop and text.count('"', 0, begin) % 2 == 0:
            yield begin, stop, asks
        start = stop if end is None else end.end()
