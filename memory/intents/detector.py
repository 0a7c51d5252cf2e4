"""Detects requests about remembering in a message: "remember this", "forget that", "don't bring that up again".

An intent is executed at once, so only clear ones are found: a command that begins a sentence. "I can't forget that
day", "do you remember that?", "forget it, let's go" and text in quotation marks are not intents. Neither is anything in
a text that may be pasted (`_may_be_pasted`): of several lines, too long for a chat message, after a colon, or with a
request to translate or to sum up. If an intent is missed, the person can say it again in a message of its own. English
only, by patterns: this module does not understand language, and does not know what executes the intent.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import regex

MAX_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Remember:
    """Remember these words of the message; None: the person's turn before."""

    quote: str | None


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget everything about these words of the message; None: the turn before."""

    about: str | None


@dataclass(frozen=True, slots=True)
class Mute:
    """Mute everything about these words of the message; None: the turn before."""

    about: str | None


Intent = Remember | Forget | Mute


def intent_of(text: str) -> Intent | None:
    """The first intent in a person's message, or None."""
    if len(text) > MAX_CHARACTERS or len(text.strip().splitlines()) > 1 or _CODE.search(text):
        return None
    plain = text.translate(_STRAIGHT)
    for start, end in _sentences(plain):
        if _may_be_pasted(plain[:start], plain[end:]):
            continue
        for make, patterns in _PATTERNS:
            for pattern in patterns:
                if match := pattern.fullmatch(plain, start, end):
                    wish = _made(make, match, text)
                    if wish is not None:
                        return wish
    return None


_STRAIGHT = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})  # each one character long
_SHORTENED = "".join(rf"(?<!\b{each})" for each in ("Mr", "Ms", "Mrs", "Dr", "St", "Prof", "[A-Za-z]"))
_END = regex.compile(rf"{_SHORTENED}[.!?\u2026]+(?=\s|$)|\n+")

# What makes a message somebody else's words: code, slashes between a song's lines, a letter's last line, a task.
_CODE = regex.compile(r"[`{}<>|]|/\*|\s/{1,2}\s|;\s*$|\w\(\)|==|=>|->")
_COLON = regex.compile(r":(?!-?[)(DPp3|/*](?!\w))(?!\d)|\uff1a")  # none of a face's or a time's
_QUOTE = regex.compile(r"[\"\u00ab\u00bb\u2039\u203a\u201a\u201e\u300c-\u300f\uff02]|(?<!\w)'(?=\w)|(?<=[.,!?])'")
_TASK = regex.compile(
    r"\b(?:translat|summari[sz]|paraphras|rephras|rewrit|reword|proofread|transcri|lyric)\w*"
    r"|\b(?:summary|song|poem|verse|chorus|quote[ds]?|quotation|e-?mail|letter|script|dialogue|sincerely|regards)\b"
    r"|\bin\s+(?:other|plain|simple)\s+words\b|\bdear\s+\w+,"
    r"|\b(?:in|into|to)\s+(?:english|bengali|bangla|hindi|urdu|french|german|spanish|italian|portuguese|arabic|chinese"
    r"|japanese|korean|russian|turkish|dutch|polish|tamil|latin)\b"
    r"|\b(?:wrote|write|says?|said|sings?|sang|goes|reads?|texted|sent)(?:\s+(?:me|this|that|it))?\W{0,9}$",
    regex.IGNORECASE,
)

# What may stand before the order, and after it.
_GREETING = r"(?:(?:hey|hi|hello|oh|ok|okay|so|and|also|but|now|no|yes|well|actually|sorry|bondhu)\b[,!.]?\s+)*"
_ASKING = r"(?:can|could|would|will)\s+you\s+please\b"
_BEGIN = rf"{_GREETING}(?:(?:please|pls)\b,?\s+|{_ASKING}\s+|i(?:'d|\s+would)\s+like\s+you\s+to\s+)?(?:just\s+)?"
_THANK = r"please|pls|thanks|thank\s+you"
_THANKS = rf"(?:,?\s+(?:{_THANK})|,\s*ok(?:ay)?)*\W{{0,30}}"
_DONE = rf"(?:,?\s+(?:{_THANK}|ok|okay|now|for\s+good|forever|completely|for\s+me|for\s+later))*\W{{0,30}}"
_AGAIN = rf"(?:,?\s+(?:{_THANK}|ok|okay|again|any\s?more|ever|to\s+me|with\s+me))*\W{{0,30}}"
# With what a sentence begins that tells something: "that my cat ..."; "that cat" points at something.
_OWN = r"(?:i|i'\w+|my|we|we'\w+|our)\b"
_NAME = r"(?-i:[^\W\d_a-z])"
_OTHERS = r"(?:he|she|it|they)(?:'\w+)?\b|(?:his|her|their|its|the|an?|there|today|tomorrow|every|both|if|when|on|in)\b"
_SUBJECT = rf"(?:{_OWN}|{_OTHERS}|there's\b|{_NAME})"
_TOLD = (
    r"i(?:'ve|\s+have)?(?:\s+(?:just|ever|once|already))?\s+(?:told|said|mentioned|wrote|asked)(?:\s+to)?(?:\s+you)?"
)
_BEFORE = rf"(?:that|this|(?:what|everything|anything)\s+(?:that\s+)?{_TOLD}(?:\s+just\s+now)?)"
_LAST = r"(?:my\s+)?(?:last|previous)\s+(?:message|sentence|thing)"
_THING = r"(?P<about>\S.*?)"
_ONE_THING = r"\S[^,;\u2013\u2014]*?"  # what follows a comma is most often: "..., let's talk of something else"

_DONT = r"(?:don't|do\s+not|dont)"
_KEEP = rf"(?:remember|{_DONT}\s+forget|keep\s+in\s+mind|make\s+a\s+note)"
_REMEMBER = (
    rf"{_KEEP}(?:\s+(?:this|that))?\s*(?P<rest>:)\s*(?P<about>\S.*)",
    rf"{_KEEP}\s+(?:this|that)\s*[,;\u2013\u2014-]\s*(?P<about>{_SUBJECT}.*?){_THANKS}",
    rf"{_KEEP}\s+that,?\s+(?P<about>{_SUBJECT}.*?){_THANKS}",
    rf"remember,\s+(?P<about>{_SUBJECT}.*?){_THANKS}",
    rf"{_DONT}\s+forget\s+(?P<about>{_OWN}\s.*?){_THANKS}",
    rf"remember\s+(?P<about>my\s+\S.*?\s(?:is|are|isn't|aren't)\s.*?){_THANKS}",
    rf"remember\s+(?P<about>i(?:'m|\s+(?:am|have|can't|never|always|don't|hate|love|like))\s.*?){_THANKS}",
    rf"(?:remember|{_DONT}\s+forget)\s+{_BEFORE}{_DONE}",
    rf"(?:keep|make\s+a\s+note\s+of)\s+(?:that|this)(?:\s+in\s+mind)?{_DONE}",
)
_FORGET = (
    rf"forget\s+(?:{_BEFORE}|{_LAST}|(?:that\s+)?{_TOLD}(?:\s+(?:that|this|anything|it|so))?){_DONE}",
    rf"(?:delete|erase)\s+(?:what\s+{_TOLD}|{_LAST}){_DONE}",
    rf"(?:forget|delete|erase)\s+(?:what|everything|anything|all)\s+(?:that\s+)?{_TOLD}\s+about\s+{_THING}{_DONE}",
    rf"(?:delete|erase)\s+(?:the|your|that|any|all)\s+(?:\w+\s+)?memor(?:y|ies)\s+(?:of|about)\s+{_THING}{_DONE}",
    rf"forget\s+(?:that\s+)?{_TOLD}\s+(?:about|that)\s+{_THING}{_THANKS}",
    rf"forget\s+that\s+(?P<about>{_SUBJECT}.*?){_THANKS}",
    rf"forget\s+(?P<about>(?:i|i'm|i've|we)\s.*?){_THANKS}",
    rf"forget\s+(?:all\s+|everything\s+)?about\s+(?P<about>(?:(?:my|our)\s+|{_NAME}){_ONE_THING}){_DONE}",
    rf"forget\s+(?P<about>(?:my|our)\s+{_ONE_THING}){_DONE}",
)
_NEVER = rf"(?:{_DONT}|never)(?:\s+ever)?"
_TALK = r"(?:talk|speak|ask)(?:\s+(?:to\s+)?me)?\s+about"
_NO_MORE = rf"\s+(?:any\s?more|again|ever){_AGAIN}"
_MUTE = (
    rf"{_NEVER}\s+(?:bring|dig)\s+{_THING}\s+up{_AGAIN}",
    rf"{_NEVER}\s+(?:bring\s+up|dig\s+up|mention|{_TALK}|remind\s+me\s+(?:of|about))\s+{_THING}{_AGAIN}",
    rf"stop\s+bringing\s+{_THING}\s+up{_AGAIN}",
    rf"stop\s+(?:mentioning|bringing\s+up|talking\s+about|asking(?:\s+me)?\s+about)\s+{_THING}{_AGAIN}",
    rf"stop\s+reminding\s+me\s+(?:of|about)\s+{_THING}{_AGAIN}",
    rf"i\s+(?:{_DONT}|never)\s+(?:ever\s+)?want\s+to\s+(?:talk|hear|speak)\s+about\s+{_THING}{_NO_MORE}",
    rf"let's\s+(?:not|never)\s+talk\s+about\s+{_THING}{_NO_MORE}",
)
_PATTERNS: tuple[tuple[type[Remember] | type[Forget] | type[Mute], list[regex.Pattern[str]]], ...] = tuple(
    (make, [regex.compile(_BEGIN + each, regex.IGNORECASE) for each in patterns])
    for make, patterns in ((Remember, _REMEMBER), (Forget, _FORGET), (Mute, _MUTE))
)
_POLITE = regex.compile(_GREETING + _ASKING, regex.IGNORECASE)
_POINTS = regex.compile(
    r"(?:that|this|it|them|those|these|him|her|me|us|you|yourself|everything|anything)\b", regex.IGNORECASE
)
_POINTS_ALONE = regex.compile(r"(?:that|this|it)(?:\s+(?:topic|subject|story|thing))?", regex.IGNORECASE)
_NOT_FOR_GOOD = regex.compile(
    r"\b(?:today|tonight|now|yet|at\s+the\s+moment|for\s+a\s+while|this\s+(?:week|month|morning|evening)|until|unless)\b"
    r"|\b(?:to|with|in\s+front\s+of)\s+(?:him|her|them|my|the|anyone|anybody)\b",
    regex.IGNORECASE,
)


def _may_be_pasted(before: str, after: str) -> bool:
    """Whether a sentence may be somebody else's words, judged by its context in the message."""
    return bool(_COLON.search(before) or _QUOTE.search(before) or _TASK.search(before) or _TASK.search(after))


def _made(make: type[Remember] | type[Forget] | type[Mute], match: regex.Match[str], text: str) -> Intent | None:
    """The intent that a pattern found; None if a closer look rejects it."""
    named = match.groupdict()
    if named.get("about") is None:
        return make(None)
    start, end = match.span("about")
    about = text[start:end].strip()
    if make is Remember:
        if named.get("rest"):
            about = text[start:].strip().removesuffix(".")
        return Remember(about)
    if make is Mute:
        if _POINTS_ALONE.fullmatch(about):
            idiom = about.lower() == "it" and regex.search(r"mention\s+it\W{0,30}$", match[0], regex.IGNORECASE)
            return None if idiom else Mute(None)
        if _NOT_FOR_GOOD.search(about):
            return None
    if _POINTS.match(about) or not regex.search(r"\w", about):
        return None
    return make(about)


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence, without its mark; no quotations, and of questions only polite requests."""
    start = 0
    for end in [*_END.finditer(text), None]:
        stop = len(text) if end is None else end.start()
        sentence = text[start:stop]
        begin = start + len(sentence) - len(sentence.lstrip())
        asks = end is not None and "?" in end[0]
        is_quoted = text.count('"', 0, begin) % 2 == 1
        if begin < stop and not is_quoted and (not asks or _POLITE.match(sentence.lstrip())):
            yield begin, stop
        start = stop if end is None else end.end()
