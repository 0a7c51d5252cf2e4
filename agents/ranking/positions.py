"""Reads a rating that names what was shown by its place: "I like the second one", "not the first", "skip 3".

The whole message must be one, in English, Bengali or Hindi (the last two also in Latin letters): a question, or a
sentence about something else in which a number stands, is none. It does not know what was shown.
"""

import re
from dataclasses import dataclass

MAX_CHARS = 120  # of a message that may be one
_DIGITS = str.maketrans("০১২৩৪৫৬৭৮৯०१२३४५६७८९", "01234567890123456789")

_ORDINALS = {
    "en": (
        "first|1st",
        "second|2nd",
        "third|3rd",
        "fourth|4th",
        "fifth|5th",
        "sixth|6th",
        "seventh|7th",
        "eighth|8th",
        "ninth|9th",
        "tenth|10th",
    ),
    "bn": ("প্রথম", "দ্বিতীয়|দ্বিতীয়", "তৃতীয়|তৃতীয়", "চতুর্থ", "পঞ্চম"),
    "hi": ("पहल[ाीे]", "दूसर[ाीे]", "तीसर[ाीे]", "चौथ[ाीे]", "पा[ँं]चव(?:ा[ँं]?|ी[ँं]?|े[ँं]?)"),
    "latin": (
        "prothom|pehl[aie]|pahl[aie]",
        "dwitiyo|ditiyo|doosr[aie]|dusr[aie]",
        "tritiyo|teesr[aie]|tisr[aie]",
        "choturtho|chauth[aie]",
        "ponchom|paanchva|panchva",
    ),
}
_CARDINALS = {"bn": ("এক", "দুই", "তিন", "চার", "পাঁচ"), "hi": ("एक", "दो", "तीन", "चार", "पा[ँं]च")}  # with "number"
_LAST = {"en": "last", "bn": "শেষ", "hi": "आख़िरी|आखिरी|अंतिम", "latin": "shesh|aakhri|akhri"}


def _any_of(language: str) -> str:
    return "|".join([*_ORDINALS[language], _LAST[language]])


_THING = r"(?: (?:one|song|track|tune|video|clip))?"
_REF = {
    "en": rf"(?:the )?(?:(?:{_any_of('en')}){_THING}|(?:song |track |video |number |no\.? ?|# ?)?\d{{1,2}})",
    "bn": (
        rf"(?:(?:{_any_of('bn')}|\d{{1,2}}(?: ?(?:নম্বর|নাম্বার|নং))?|(?:{'|'.join(_CARDINALS['bn'])}) (?:নম্বর|নাম্বার))"
        r"(?: ?(?:গান|ভিডিও))?(?:টা|টি|টাকে|টিকে)?)"
    ),
    "hi": (
        rf"(?:(?:{_any_of('hi')}|(?:नंबर )?\d{{1,2}}(?: नंबर)?|(?:{'|'.join(_CARDINALS['hi'])}) नंबर|"
        rf"नंबर (?:{'|'.join(_CARDINALS['hi'])}))(?: ?वाल[ाीे])?(?: (?:गाना|गाने|वीडियो))?)"
    ),
    "latin": (
        rf"(?:(?:number )?(?:{_any_of('latin')}|\d{{1,2}})(?: number)?(?: ?(?:ta|ti|wal[aie]))?"
        r"(?: (?:gaan|gana|gaana|video))?)"
    ),
}
_AND = r"(?:, and |,? and |, | or | & |,? এবং | আর |,? और | ar | aur )"


@dataclass(frozen=True, slots=True)
class Pointed:
    """Places from 1 on, -1 being the last; what is thought of them, from -1 to 1; `never`: not again."""

    places: tuple[int, ...]
    reward: float
    never: bool = False


def _before(language: str, words: str, after: str = "") -> re.Pattern[str]:
    """The verdict, then the places."""
    return _whole(rf"(?:{words}) (?P<places>{_places(language)}){after}")


def _after(language: str, words: str, before: str = "") -> re.Pattern[str]:
    """The places, then the verdict."""
    return _whole(rf"{before}(?P<places>{_places(language)}),? ?(?:{words})")


def _places(language: str) -> str:
    return rf"{_REF[language]}(?:{_AND}{_REF[language]}){{0,4}}"


def _whole(words: str) -> re.Pattern[str]:
    opening = r"(?:(?:ok|okay|yes|yeah|oh|hm+|well|actually|and|but|so|wow|please|আচ্ছা|ठीक है|अच्छा),? ){0,2}"
    return re.compile(rf"{opening}{words}(?:,? please)?")


_VERY = r"(?:(?:really|quite|just|also|rather|do|absolutely) ){0,2}"
_MOST = r"(?:(?: a lot| very much| so much| most| best| the most| the best| too| though| more| better))?"
_BN_I, _HI_I, _LATIN_I = r"(?:আমার |আমি )?", r"(?:मुझे |मुझको |मेरे को )?", r"(?:amar |ami |mujhe |mujhko )?"
_BN_VERY = r"(?:আমার )?(?:খুব |বেশ |একদম |সবচেয়ে )?"
_HI_VERY = r"(?:मुझे )?(?:बहुत |काफी |काफ़ी |बिल्कुल |सबसे )?"
_LATIN_VERY = r"(?:amar |mujhe )?(?:khub |besh |ekdom |bahut |bohot |kaafi |bilkul )?"
_GOOD = r"(?:great|good|nice|lovely|perfect|amazing|beautiful|wonderful|awesome|cool|fine|my favou?rite)"
_BAD = r"(?:boring|bad|awful|terrible|meh|not (?:good|great|nice|for me|my (?:thing|taste))|too \w{2,10})"
_NEVER = (
    _before("en", r"never(?: play| show(?: me)?)?|(?:i )?(?:hate|can'?t stand)|block|don'?t (?:play|show me)", _MOST),
    _before("en", r"never(?: play| show(?: me)?)?|not|don'?t (?:play|show me)", " (?:ever )?again"),
    _after("bn", r"আর (?:কখনও|কখনো|কোনোদিন)(?: \S{1,10})? না|আর (?:বাজাবে|দেখাবে|শুনব|দেখব) না", _BN_I),
    _after("hi", r"(?:फिर |दोबारा )?कभी (?:नहीं|मत)(?: \S{1,10})?|(?:फिर से|दोबारा) (?:नहीं|मत)(?: \S{1,10})?", _HI_I),
)
_NO = (
    _before(
        "en", r"(?:i )?(?:don'?t|do not|didn'?t|did not) (?:really )?(?:like|love|want|enjoy)|i dislike|dislike", _MOST
    ),
    _before("en", r"(?:i(?:'d| would)? )?skip(?:ped)?|not|no to|thumbs down (?:for|to)|👎", ""),
    _after("en", rf"(?:is|was|are|were) {_VERY}{_BAD}|👎"),
    _after("bn", rf"{_BN_VERY}(?:ভালো? লাগে ?ন[াি]|পছন্দ (?:না|নয়|হয়নি|হয়নি)|না|নয়|চাই না|বাদ(?: দাও)?|বাজে)", _BN_I),
    _after(
        "hi",
        rf"{_HI_VERY}(?:पसंद नहीं|अच्छ[ाीे] नहीं|नहीं|छोड़ो|छोड़ दो|हटाओ|हटा दो|बेकार|बोरिंग)"
        r"(?: (?:है|हैं|था|थी|आया|आयी|आई|लगा|लगी|चाहिए))?",
        _HI_I,
    ),
    _after(
        "latin",
        rf"{_LATIN_VERY}(?:bhalo lage ?n[ai]|pochondo (?:na|hoyni)|na|bad dao|(?:pasand |accha )?nahin?|chhodo)"
        r"(?: (?:hai|tha|aaya|aayi|laga|lagi|chahiye))?",
        _LATIN_I,
    ),
)
_YES = (
    _before("en", rf"(?:i )?{_VERY}(?:like|love|liked|loved|enjoy|enjoyed|prefer)|more (?:like|of)|👍|❤️?", _MOST),
    _before("en", r"thumbs up (?:for|to)"),
    _after("en", rf"(?:is|was|are|were) {_VERY}{_GOOD}|👍|❤️?"),
    _after("bn", rf"{_BN_VERY}(?:ভালো? (?:লেগেছে|লাগল|লাগলো|লাগে|লাগছে)|পছন্দ(?: হয়েছে| হয়েছে| করি)?|দারুণ|সুন্দর|চমৎকার)", _BN_I),
    _after(
        "hi",
        rf"{_HI_VERY}(?:पसंद|अच्छ[ाीे]|बढ़िया|मस्त|शानदार)(?: (?:है|हैं|था|थी|आया|आयी|आई|लगा|लगी|लगे))?",
        _HI_I,
    ),
    _after(
        "latin",
        rf"{_LATIN_VERY}(?:bhalo (?:legeche|laglo|lage)|pochondo(?: hoyeche)?|pasand|accha|acch[ai]|badhiya)"
        r"(?: (?:hai|tha|aaya|aayi|laga|lagi))?",
        _LATIN_I,
    ),
)


def pointed_of(text: str) -> Pointed | None:
    """The rating that a message is; None if it is none, or names no place."""
    if len(text) > MAX_CHARS or "?" in text:
        return None
    plain = " ".join(text.casefold().translate(_DIGITS).replace("\u2019", "'").split()).rstrip(" .!।")
    for patterns, reward, never in ((_NEVER, -1.0, True), (_NO, -0.7, False), (_YES, 1.0, False)):
        for pattern in patterns:
            found = pattern.fullmatch(plain)
            if found is not None:
                return Pointed(_places_of(found["places"]), reward, never)
    return None


def _places_of(words: str) -> tuple[int, ...]:
    found: list[tuple[int, int]] = [(match.start(), int(match[0])) for match in _NUMBER.finditer(words)]
    for place, pattern in _PLACES:
        found += [(match.start(), place) for match in pattern.finditer(words)]
    return tuple(dict.fromkeys(place for _, place in sorted(found)))


def _named(words: str) -> re.Pattern[str]:
    letter = r"[\w\u0900-\u0963\u0980-\u09e3]"  # vowel signs too; the Bengali articles follow without a space
    return re.compile(rf"(?<!{letter})(?:{words})(?=টা|টি|(?!{letter}))")


_NUMBER = re.compile(r"(?<![\w])\d{1,2}(?!\d|st|nd|rd|th)")
_PLACES = (
    *(
        (place, _named(words))
        for each in (*_ORDINALS.values(), *_CARDINALS.values())
        for place, words in enumerate(each, 1)
    ),
    *((-1, _named(words)) for words in _LAST.values()),
)
