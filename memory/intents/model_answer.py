"""Detection of requests about memory by a language model: its prompt, its grammar, and what its answer is taken for.

The patterns (`memory.intents.detector`) come first and last. Only a message with a word of theirs is worth a question
to a model; what they are sure of stands; and a model never widens it. What a model finds must be in the person's own
words. Where the two disagree on forgetting everything, where the text may be quoted, or where a model denies an order
to forget, the person is asked. This module does not know models: it makes a question and reads an answer.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from memory.intents.detector import (
    LANGUAGES,
    Detected,
    Forget,
    ForgetAll,
    Lift,
    Mute,
    Remember,
    Unclear,
    Undo,
    may_be_quoted,
)
from memory.intents.language import IntentLanguage
from memory.unicode_text import nfc

REQUESTS = (
    "none",
    "unclear",
    "remember",
    "remember_that",
    "forget",
    "forget_that",
    "forget_everything",
    "mute",
    "mute_that",
    "allow_again",
    "undo",
)
MAX_ABOUT = 200  # characters; an order that names more names nothing
MAX_TOKENS = 120  # of the answer
TASK = """\
You read one message that a person sends to their friend, who has a memory of what the person said. Decide whether the \
message asks the friend to change that memory. Answer in JSON.
request:
- none: it does not. They tell something, ask what the friend remembers, quote or translate others, write a text or \
code, or speak of forgetting without asking for it ("I forgot my keys", "forget it, let's go").
- unclear: they may ask to forget something, but it is not certain what, or whether.
- remember: the friend is to remember what `about` says. remember_that: to remember what was said before.
- forget: the friend is to forget what `about` names. forget_that: to forget what was said just before.
- forget_everything: the friend is to forget everything about the person.
- mute: the friend is not to bring up what `about` names. mute_that: not to bring up what was said just before.
- allow_again: the friend may speak of what `about` names again.
- undo: the friend is to have back what it has forgotten last.
about: what it is about, copied letter by letter from the message, without the words that ask; empty if nothing is \
named.
is_statement: whether `about` is a statement ("I live in Porto") and not a thing or a person ("my sister")."""
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "request": {"type": "string", "enum": list(REQUESTS)},
        "about": {"type": "string"},
        "is_statement": {"type": "boolean"},
    },
    "required": ["request", "about", "is_statement"],
    "additionalProperties": False,
}


def combined(text: str, by_patterns: Detected | None, answer: str) -> Detected | None:
    """What a message is taken for, by the patterns and by a model's answer; by the patterns if that is unreadable."""
    try:
        by_model = _read(text, answer)
    except (ValueError, TypeError, KeyError):
        return by_patterns
    is_order = by_patterns is not None and not isinstance(by_patterns, Unclear)
    if isinstance(by_patterns, ForgetAll) or isinstance(by_model, ForgetAll):
        return by_patterns if by_patterns == by_model else Unclear()
    if is_order:
        is_denied = isinstance(by_patterns, Forget) and by_model is None
        return Unclear() if is_denied else by_patterns
    if by_model is None:
        return by_patterns
    return Unclear() if may_be_quoted(text) else by_model


def _read(text: str, answer: str) -> Detected | None:
    """What a model found; Unclear where its words do not stand in the message. Raises if it is no answer."""
    given = json.loads(answer)
    request, about, is_statement = given["request"], given["about"], given["is_statement"]
    if request not in REQUESTS or not isinstance(about, str) or not isinstance(is_statement, bool):
        raise ValueError(request)
    if request in _WITHOUT_WORDS:
        return _WITHOUT_WORDS[request]
    language = next(each for each in LANGUAGES if each.is_triggered.search(nfc(text)))
    words = about.strip().strip(".!?")
    if not words or words not in text or len(words) > MAX_ABOUT or words == text.strip().strip(".!?"):
        return Unclear()
    if request == "remember":
        return Remember(words)
    is_clause = is_statement or _begins_with_them(words, language)
    if (not is_clause and language.points.match(words)) or not any(each.isalnum() for each in words):
        return Unclear()
    if request == "forget":
        return Forget(words, is_clause, language.code, by_model=True)
    return Mute(words, language.code) if request == "mute" else Lift(words, language.code)


def _begins_with_them(words: str, language: IntentLanguage) -> bool:
    """Whether the words begin as a statement of the person does: what contradicts it is not meant then."""
    return words.split()[0].casefold() in language.meaning.own


_WITHOUT_WORDS: dict[str, Detected | None] = {
    "none": None,
    "unclear": Unclear(),
    "remember_that": Remember(None),
    "forget_that": replace(Forget(None), by_model=True),
    "forget_everything": ForgetAll(),
    "mute_that": Mute(None),
    "undo": Undo(),
}
