"""Detects probably private content in a text by words and number formats, without a model.

It prefers false positives: a hit costs at most a worse answer, a miss reveals something private. The classes are what
most laws treat as special (https://gdpr-info.eu/art-9-gdpr/: health, sex life), what harms when known (abuse,
self-harm, secrets), and what identifies a person (identity documents, cards, addresses). Words are English;
configuration can add others. It does not understand a text: irony, other languages and allusions pass.

Card numbers: ISO/IEC 7812-1 (length, first digit, Luhn's check digit). Phone numbers: E.164 (up to 15 digits).
"""

import re
from collections.abc import Callable, Iterable, Mapping

from memory.unicode_text import nfkc

SELF_HARM = "self_harm"
UNREAD = "unread"
MAX_CHARACTERS = 200_000  # a longer text counts as private without a check, which would take more than 0.1 s

# * matches any number of letters; a space matches any separator between words, ~ also none.
WORDS: Mapping[str, tuple[str, ...]] = {
    SELF_HARM: (
        *("suicid*", "self~harm*", "self~injur*", "unalive*", "kms", "overdos*", "end it all", "ending it all"),
        *("kill* myself", "hurt* myself", "harm* myself", "cut* myself", "hang* myself", "shoot myself"),
        *("end* my life", "take my life", "take my own life", "want to die", "wanna die", "wish i was dead"),
        *("wish i were dead", "better off dead", "better off without me", "no reason to live", "nothing to live for"),
        *("don't want to live", "don't want to be alive", "don't want to be here", "don't want to wake up"),
        *("dont want to live", "dont want to be here", "can't go on", "cant go on", "do not want to live"),
    ),
    "health": (
        *(
            "diagnos*",
            "symptom*",
            "illness*",
            "disease*",
            "disorder*",
            "disabilit*",
            "disabled",
            "chronic*",
            "prescri*",
        ),
        *("medication*", "antidepress*", "therap*", "psychiatr*", "psycholog*", "counsell*", "counsel*r", "hospital*"),
        *("surger*", "surgical", "operation on my", "doctor*", "clinic*", "biops*", "blood test*", "test result*"),
        *(
            "cancer*",
            "tumor*",
            "tumour*",
            "chemo*",
            "leuk*mia",
            "diabet*",
            "insulin",
            "epilep*",
            "seizure*",
            "stroke",
            "asthma*",
        ),
        *("hiv", "aids", "hepatitis", "herpes", "std", "sti", "depress*", "anxiety", "panic attack*", "bipolar"),
        *("schizo*", "psychosis", "psychotic", "adhd", "autis*", "ptsd", "ocd", "dementia", "alzheimer*", "anorexi*"),
        *("bulimi*", "eating disorder*", "pregnan*", "miscarr*", "abortion*", "infertil*", "ivf", "menopaus*"),
        *("rehab*", "alcoholi*", "addict*", "relaps*", "sober", "withdrawal symptom*", "mental health", "burn~out"),
    ),
    "sexuality": (
        *("sex", "sexy", "sexual*", "sexting", "porn*", "nude*", "naked", "orgasm*", "masturbat*", "erection*"),
        *("horny", "fetish*", "kink*", "virgin*", "condom*", "contracepti*", "birth control", "slept with", "affair"),
        *("gay", "lesbian*", "bisexual*", "homosexual*", "heterosexual*", "asexual*", "pansexual*", "queer", "lgbt*"),
        *("trans", "transgender*", "transsexual*", "non~binary", "came out as", "come out as", "gender dysphoria"),
    ),
    "abuse": (
        *("abus*", "rape", "raped", "rapes", "rapist*", "molest*", "assault*", "incest*", "groomed", "grooming"),
        *("domestic violence", "violen*", "harass*", "stalk*", "traffick*", "restraining order*", "neglected me"),
        *("beats me", "beat me up", "hits me", "hit me", "chokes me", "choked me", "threatens me", "threatened me"),
    ),
    "identity": (
        *(
            "passport*",
            "social security",
            "ssn",
            "driver's licen*",
            "drivers licen*",
            "driving licen*",
            "identity card*",
        ),
        *("id card*", "id number*", "national insurance", "national id*", "tax id*", "tax number*", "aadhaar", "iban"),
        *("account number*", "sort code*", "routing number*", "date of birth", "green card", "visa number*"),
    ),
    "secret": (
        *("password*", "passcode*", "passphrase*", "pass~word*", "pin code*", "my pin", "pin is", "pin number*"),
        *("api key*", "secret key*", "private key*", "access token*", "seed phrase*", "recovery phrase*", "otp"),
        *("one~time code*", "login is", "log in is", "security code*", "cvv", "cvc"),
    ),
}
# Case-sensitive; bounded, so that no text makes them slow.
SHAPES: Mapping[str, tuple[str, ...]] = {
    "contact": (r"@\w[\w-]{0,62}\.\w",),
    "secret": (
        r"(?<!\w)(?:sk|pk|rk|bd|xox[abp])-[\w-]{16}",
        r"(?<!\w)(?:gh[pousr]_\w{20}|AKIA[0-9A-Z]{16}|AIza[\w-]{30}|eyJ[\w-]{10})",
        r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY",
    ),
}
NUMBERS: Mapping[str, tuple[str, ...]] = {  # looked for only in a text with four digits close together
    "contact": (
        r"\+\d(?:[ ().-]{0,2}\d){6,14}",
        r"(?<![\w.])\(?\d(?:[ ().-]{0,2}\d){8,14}(?!\d)",
        r"(?<!\w)\d{3}[ .-]\d{4}(?!\w)",
        # Eight digits or less, as countries without area codes write numbers; not years, nor thousands.
        r"(?<![\w.,-])(?:(?!(?:19|20)\d\d[ -](?:19|20)\d\d)\d{4}[ -]\d{4}|(?!(?:19|20)\d{6}|\d{5}000)\d{8}|\d \d{7}"
        r"|\d{2}(?: \d{2}){2,3}|\d{2} \d{5,6}|\d{2} \d{3} \d{3,4}|\d{3} \d{2} \d{2,4}|\d{3} \d{5})(?![\w.,-]?\d)",
    ),
    "identity": (
        r"(?<!\d)\d{3}[ -]\d{2}[ -]\d{4}(?!\d)",  # a US social security number
        r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?!\w)",  # an IBAN
        # Numbers of persons with letters or a slash, or of 16 to 18 digits: Spain (DNI, NIE), India (PAN, EPIC), Mexico
        # (CURP, RFC), Italy, Czechia and Slovakia, Corsica, Britain (NINO), China, Indonesia.
        r"(?<!\w)(?:(?:\d{8}|[XYZxyz]-?\d{7})-?[A-Za-z]|\d{6}/\d{3,4}|\d{5}2[ABab]\d{6,8}|\d{16,18}[Xx]?"
        r"|[A-Z]{5}\d{4}[A-Z]|[A-Z]{3}\d{7}|[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]|[A-Z]{2}(?: ?\d{2}){3} ?[A-D]"
        r"|[A-Z]{3,4}-?\d{6}-?(?:[HM][A-Z]{5}[A-Z0-9]\d|[A-Z0-9]{3}))(?!\w)",
    ),
}
_FOUR_DIGITS = re.compile(r"\d(?:\D{0,4}\d){3}")
_DATES = re.compile(r"(?<!\d)\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?(?!\d)")  # not phone numbers
_DIGITS = re.compile(r"\d(?:[ -]?\d){12,}")
_FIRST_OF_CARDS = "23456"
_CARD_LENGTHS = range(13, 20)
_MAX_DIGITS = 200  # in one run; a longer one counts as a card without a check

Detect = Callable[[str], frozenset[str]]


def detector(more_words: Mapping[str, Iterable[str]]) -> Detect:
    """Make a function from a text to its classes of private content; `more_words` extends WORDS, in the same syntax."""
    nfkc("\N{COMBINING ACUTE ACCENT}")  # builds its tables now instead of during a request
    phrases = _Phrases()
    for words in (WORDS, more_words):
        for name, listed in words.items():
            for word in listed:
                phrases.add(name, word)
    shapes, numbers = _compiled(SHAPES), _compiled(NUMBERS)

    def detect(text: str) -> frozenset[str]:
        if len(text) > MAX_CHARACTERS:
            return frozenset({UNREAD})
        plain = _plain(text)
        undated = _DATES.sub(" ", plain)
        found = phrases.found_in(plain) | {name for name, shape in shapes if shape.search(plain)}
        if _FOUR_DIGITS.search(undated):
            found |= {name for name, shape in numbers if shape.search(undated)}
            found |= {"card"} if has_card(undated) else set()
        return frozenset(found)

    return detect


def _compiled(shapes: Mapping[str, tuple[str, ...]]) -> list[tuple[str, re.Pattern[str]]]:
    return [(name, re.compile("|".join(patterns))) for name, patterns in shapes.items()]


class _Phrases:
    """Phrases by their first word, so that a text is split into words only once."""

    def __init__(self) -> None:
        self._by_first: dict[str, set[tuple[tuple[str, ...], str]]] = {}
        self._prefixes: set[int] = set()  # lengths of first words before their *

    def add(self, name: str, written: str) -> None:
        for joint in (" ", "") if "~" in written else ("",):
            phrase = tuple(re.findall(r"[\w*]+", _plain(written).lower().replace("~", joint)))
            if phrase:
                self._by_first.setdefault(phrase[0].partition("*")[0], set()).add((phrase, name))
                if "*" in phrase[0]:
                    self._prefixes.add(phrase[0].index("*"))

    def found_in(self, text: str) -> set[str]:
        words = re.findall(r"\w+", text.lower())
        found: set[str] = set()
        by_word: dict[str, set[tuple[tuple[str, ...], str]]] = {}
        for word in set(words):
            starts = {word, *(word[:length] for length in self._prefixes)}
            phrases = {
                candidate
                for start in starts
                for candidate in self._by_first.get(start, ())
                if _fits(candidate[0][0], word)
            }
            found |= {name for phrase, name in phrases if len(phrase) == 1}
            if longer := {candidate for candidate in phrases if len(candidate[0]) > 1}:
                by_word[word] = longer
        for index, word in enumerate(words) if by_word else ():
            for phrase, name in by_word.get(word, ()):
                if name not in found and len(words) - index >= len(phrase):
                    found |= {name} if all(map(_fits, phrase, words[index : index + len(phrase)])) else set()
        return found


def _fits(pattern: str, word: str) -> bool:
    """Whether a word matches a pattern, in which one * matches any text."""
    before, star, after = pattern.partition("*")
    if not star:
        return word == pattern
    return len(word) >= len(before) + len(after) and word.startswith(before) and word.endswith(after)


def has_card(text: str) -> bool:
    """Whether a run of digits contains a payment card number."""
    for run in _DIGITS.finditer(text):
        digits = re.sub(r"\D", "", run[0])
        if len(digits) > _MAX_DIGITS:
            return True
        for start, first in enumerate(digits):
            ends = (start + length for length in _CARD_LENGTHS if start + length <= len(digits))
            if first in _FIRST_OF_CARDS and any(_luhn(digits[start:end]) for end in ends):
                return True
    return False


def _luhn(digits: str) -> bool:
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(value // 10 + value % 10 for value in doubled)) % 10 == 0


def _plain(text: str) -> str:
    """Normalise full-width letters, curly apostrophes and invisible characters."""
    folded = nfkc(text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return re.sub("[\u00ad\u200b-\u200d\u2060\ufeff]", "", folded)
