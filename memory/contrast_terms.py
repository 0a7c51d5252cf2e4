"""The words that decide what a question means: another one makes another question, however similar the embeddings are.

A sentence embedding says what a text is about. It hardly tells 2027 from 2028, before from after, high from low or one
name from another (measured by `bench.serving.semantic_cache`). So two questions count as one only if they have the same
contrast terms: numbers, names, negations, question words, and the words of a list that come in opposites or series
(such as "on" and "off"). A word missing from the list can cause a wrong cached answer; one too many only costs a
generation. English only, like the embedder.
"""

import hashlib
import re

ORDER_BYTES = 16

_WORD = re.compile(r"[A-Za-z0-9]+(?:'[a-z]+)?")
_COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ORDINALS = ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_NUMBERS = {word: str(number) for words in (_COUNTS, _ORDINALS) for number, word in enumerate(words)}
_NUMBERS |= {"half": "1/2", "twice": "2", "double": "2", "triple": "3", "dozen": "12"}
del _NUMBERS["one"]  # mostly no number: "which one", "one has to"

# Capital letters here only begin a sentence, and the words do not matter.
_OPENERS = """
a an the what which who whom whose when where why how is are was were be do does did can could may might must should
would will shall has have had if in on at to of for from by with and or but as i tell give list name suggest recommend
share find show explain describe define summarise summarize calculate compute convert translate write make create
compare please some any my your it there this that these those between during briefly
"""
_UNITS = """
kilometre kilometer km mile metre meter centimetre inch inches foot feet yard gram kilogram kg ounce pound ton litre
liter gallon pint cup celsius fahrenheit kelvin dollar euro yen percent calorie watt volt amp byte megabyte gigabyte
"""
# Negation and lack.
_LACK = """
without except excluding besides instead only avoid free less few fewer unlike none nothing nobody nor neither
"""
# What is asked.
_QUESTION_WORDS = """
when where why far long old much often
"""
# More, most, and what is singled out.
_COMPARED = """
more most least worst best better worse first last next previous former latter same other another both either every
all each always sometimes rarely usually too very enough almost maximum minimum common
"""
# Order and direction.
_WHERE = """
before after until since during ago early late past future now today tomorrow yesterday tonight up down out from off
over under above below behind front back forward backward left right north south east west northern southern eastern
western inside outside upstairs downstairs around through across away near reverse
"""
# Opposites.
_OPPOSITES = """
start end begin finish stop continue open close opening closing opened closed increase decrease raise lower rise fall
set sunrise sunset gain lose win lost won loser winner buy sell bought sold lend borrow lent borrowed send receive give
take gave took alive dead living died dying marry married divorce divorced single engaged separated hire hired fire
fired employed unemployed retired pregnant sober drunk friend enemy quit quits stopped started joined left push pull add
remove install uninstall connect disconnect enable disable activate deactivate lock unlock tie untie subscribe
unsubscribe cancel renew accept reject allow block import export upload download encrypt decrypt freeze melt freezing
boiling melting heat cool build built destroy destroyed born died birth death arrive leave arrival departure attract
repel love hate cause prevent help harm good bad high low hot cold warm big small large little short tall fast slow
quick quiet loud soft hard light dark bright heavy thick thin wide narrow deep shallow young new modern ancient rich
poor cheap expensive easy difficult simple complex safe dangerous healthy unhealthy raw cooked fresh frozen dry wet
clean dirty full empty strong weak happy sad upbeat calm sweet sour salty spicy mild public private legal illegal male
female men women man woman boy girl beginner expert adult child children kid singular plural positive negative odd
even similar different opposite advantage disadvantage pros cons benefit risk effect input output domestic
international indoor outdoor vegetarian vegan meat
"""
# Who did what to a work, and how people travel.
_DEEDS = """
direct directed direction appear appeared star starred starring play played act acted write wrote written sing sang
sung compose composed produce produced train plane flight car bus bike bicycle ferry walk
"""
# Time.
_TIMES = """
january february march april may june july august september october november december monday tuesday wednesday
thursday friday saturday sunday weekday weekend spring summer autumn winter morning noon afternoon evening night
midnight day week month year decade century hour minute second christmas easter
"""
# Colours.
_COLOURS = """
red orange yellow green blue purple violet pink brown black white grey gray silver gold
"""
_IS_OPENER, _IS_UNIT = frozenset(_OPENERS.split()), frozenset(_UNITS.split())
_TURNS = frozenset(" ".join((_LACK, _QUESTION_WORDS, _COMPARED, _WHERE, _OPPOSITES, _DEEDS, _TIMES, _COLOURS)).split())
_STRENGTH = re.compile(r"(?=.{5})[a-z]{1,40}(?:est|er)")  # highest, longer: also water and paper, which does no harm
_SIGNS = re.compile(r"[^\w\s.,;:!?'\"()-]+")  # C++ and C#, 10 % and 10 $
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)$")
_NEGATIONS = {"cannot", "can't", "not", "no", "never"}


def contrast_terms(text: str) -> tuple[str, ...]:
    """The contrast terms of a text, in lower case; equal for questions that may have the same meaning.

    The order matters only among numbers, units and names: from Rome to Naples is not from Naples to Rome.
    """
    found = [_contrast_term(word) for word in _words(text)]
    ordered = " ".join(term for term in found if term.startswith(("#", "@")))
    others = sorted({term for term in found if term and not term.startswith(("#", "@"))})
    return ordered, *_SIGNS.findall(text), *others


def word_order(text: str) -> bytes:
    """ORDER_BYTES of hashes for `is_reordered`, which do not reveal the words."""
    words = [lower for word in _words(text) if (lower := word.lower().removesuffix("'s")) not in _IS_OPENER]
    words = [word.removesuffix("s") for word in words]
    return b"".join(hashlib.blake2b(" ".join(each).encode(), digest_size=8).digest() for each in (sorted(words), words))


def is_reordered(one: bytes, other: bytes) -> bool:
    """Whether two questions have the same words in another order ("do cats eat mice", "do mice eat cats")."""
    return one != other and one[:8] == other[:8]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.replace("’", "'"))  # noqa: RUF001  # as phones write it


def _contrast_term(word: str) -> str:
    """The contrast term that a word is; "" if it is none."""
    lower = word.lower().removesuffix("'s")
    one = lower.removesuffix("s")
    if lower in _NUMBERS:
        return "#" + _NUMBERS[lower]
    if any(letter.isdigit() for letter in lower):
        return "#" + _ORDINAL.sub("", lower)
    if lower in _IS_UNIT or one in _IS_UNIT:
        return "#" + one
    if lower in _NEGATIONS or lower.endswith("n't"):
        return "not"
    if lower in _TURNS or one in _TURNS:
        return lower if lower in _TURNS else one
    if lower in _IS_OPENER:
        return ""
    if word[0].isupper():
        return "@" + lower
    return lower if _STRENGTH.fullmatch(lower) else ""
