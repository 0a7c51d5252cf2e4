"""Checks the claim of an operation against its quote: of whom, denied, only supposed, what must not be stored.

The quote occurs in the message, but a small model may still claim something else. It checks English, German, Spanish,
Hindi and Bengali, by the words of `memory.intents.languages`. If it cannot decide, the claim is accepted: people can
see and correct a wrong memory, but not a lost one.
"""

from collections.abc import Collection

import regex

from memory.intents.detector import LANGUAGES
from memory.intents.language import Meaning
from memory.language.detection import language_of
from memory.language.terms import Terms
from memory.unicode_text import nfc

_BY_CODE = {each.code: each.meaning for each in LANGUAGES}
_WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{N}\p{M}]*(?:['\u2019]\p{L}+)?")
_SECRET = regex.compile(
    r"\b(?:pass(?:word|wort|code|phrase)|kennwort|contrase\u00f1a|pin(?:\s+code)?|cvv|cvc|iban|api[ _-]?key)\b"
    r"|\u092a\u093e\u0938\u0935\u0930\u094d\u0921|\u09aa\u09be\u09b8\u0993\u09af\u09bc\u09be\u09b0\u09cd\u09a1",
    regex.IGNORECASE,
)
_CARD = regex.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
# Sentences that only suppose: from their beginning, or by the form of the verb after "if".
_SUPPOSED = regex.compile(
    r"^\W*(?:what\s+if|suppose|supposing|imagine|maybe|perhaps|vielleicht|angenommen|tal\s+vez|quiz\u00e1s?|ojal\u00e1)\b"
    r"|^\W*if\s+(?:i|we|it|he|she|they|my)\b(?!\s+(?:remember|recall|think|may|must|am\s+honest|were\s+honest))"
    r"|\bif\s+(?:i|we|it|he|she|they)\s+(?:were|had)\b"
    r"|\b(?:wenn|falls)\b.{0,60}\b(?:w\u00e4re|h\u00e4tte|w\u00fcrde|k\u00f6nnte)"
    r"|^\W*si\s+\w{2,20}(?:ra|ras|ramos|ran)\b"
    r"|\u0905\u0917\u0930\s.{0,60}\u0924[\u094b\u0940\u0947\u093e]"
    r"|(?:\u09af\u09a6\u09bf\s|\u09b9\u09b2\u09c7\s).{0,60}\u09a4\u09be\u09ae",
    regex.IGNORECASE | regex.DOTALL,
)
_WOULD = regex.compile(
    r"\b(?:would|might|may|w\u00fcrde|w\u00e4re|h\u00e4tte|podr\u00eda|quiz\u00e1s?)\b", regex.IGNORECASE
)
# Words that say the opposite without a negation: with one of them, a claim is not compared.
_TURNING = frozenset(
    (
        "hate",
        "hates",
        "hated",
        "dislike",
        "dislikes",
        "disliked",
        "stopped",
        "quit",
        "avoid",
        "avoids",
        "refuses",
        "lost",
    )
)
_ENDS = regex.compile(r"[.!?;\u2026\u0964\n]")


def objection(claim: str, quote: str, text: str) -> str | None:
    """The reason to refuse a claim with this quote from the text of a turn; None if there is none."""
    if is_secret(claim) or is_secret(quote):
        return "secret"
    code = language_of(text)
    meaning = _BY_CODE.get(code)
    if meaning is None or language_of(claim) not in (code, "en"):
        return None
    sentence = _sentence(quote, text)
    if _SUPPOSED.search(nfc(sentence)) and not _SUPPOSED.search(nfc(claim)) and not _WOULD.search(claim):
        return "supposed"
    quoted, claimed = _words(sentence), _words(claim)
    if _is_about_others(quoted, claimed, meaning):
        return "other_person"
    turned = _TURNING.intersection([*quoted, *claimed])
    if turned or not _is_alike(quoted, claimed, code):
        return None
    return "denied" if _denies(quoted, meaning) != _denies(claimed, meaning) else None


def is_secret(text: str) -> bool:
    """Whether it names a password, or has a number like a payment card's (Luhn's check, ISO/IEC 7812)."""
    return bool(_SECRET.search(nfc(text))) or any(_is_card(each[0]) for each in _CARD.finditer(text))


def _is_card(text: str) -> bool:
    digits = [int(each) for each in text if each.isdigit()][::-1]
    doubled = [sum(divmod(2 * each, 10)) for each in digits[1::2]]
    return (sum(digits[0::2]) + sum(doubled)) % 10 == 0


def _is_about_others(quoted: list[str], claimed: list[str], meaning: Meaning) -> bool:
    """Whether the sentence begins with a relative or friend who is missing from the claim: "my friend hates tea"."""
    others = [word for each in quoted[1:3] if (word := each.removesuffix("'s")) in meaning.others]
    is_theirs = bool(others) and quoted[0] in meaning.possessive | meaning.foreign
    return (
        is_theirs
        and not set(quoted).intersection(meaning.own)
        and not {each.removesuffix("'s") for each in claimed}.intersection(others)
    )


def _sentence(quote: str, text: str) -> str:
    """The sentence that contains the quote, because a negation may come before the quote."""
    start = text.find(quote)
    before = [each.end() for each in _ENDS.finditer(text, 0, max(start, 0))]
    after = _ENDS.search(text, start + len(quote))
    return text[before[-1] if before else 0 : after.start() if after else len(text)]


def _is_alike(quoted: list[str], claimed: list[str], code: str) -> bool:
    """Whether claim and sentence share most words, so that a negation in only one of them is a contradiction."""
    terms = Terms()
    claim = [term for (term, *_) in terms.variants(" ".join(claimed), (code,))]
    known = set(terms.in_language(" ".join(quoted), code))
    return bool(claim) and 2 * sum(term in known for term in claim) > len(claim)


def _denies(words: Collection[str], meaning: Meaning) -> bool:
    return any(word in meaning.negations or word.endswith("n't") or word.startswith("non") for word in words)


def _words(text: str) -> list[str]:
    return [str(word).casefold().replace("\u2019", "'") for word in _WORD.findall(nfc(text))]
