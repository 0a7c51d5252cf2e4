"""Words by which an agent is surely meant, and words by which it may be: then a model chooses.

What has none of these is talk, without anybody being asked: most of what people say to a friend is.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_GAME = r"(?:hangman|trivia|quiz|tic[- ]?tac[- ]?toe|noughts and crosses|word ?chain|(?:twenty|20) questions|riddles?)"
_SONGS = r"(?:song|songs|music|playlist|tunes?|track|tracks|album|albums|artist|band|singer|gaan|gana)"
_SHOWS = r"(?:video|videos|youtube|documentary|documentaries|vlog|channel|clip|clips|tutorial)"
_ASKS = r"(?:play|find|recommend|suggest|make|give|want|need|show|put on|create|build|update|queue|any|some|what)"


@dataclass(frozen=True, slots=True)
class Rule:
    """For one agent: what surely means it, and what may."""

    agent: str
    sure: re.Pattern[str]
    maybe: re.Pattern[str]


def _rule(agent: str, sure: str, maybe: str) -> Rule:
    return Rule(agent, re.compile(sure, re.IGNORECASE), re.compile(maybe, re.IGNORECASE))


RULES = (
    _rule(
        "games",
        rf"\b(?:play|start|let'?s|try|another|want)\b.{{0,20}}\b{_GAME}\b|^\s*{_GAME}[.!?\s]*$|"
        r"\b(?:play|suggest|recommend|want|know|have)\b.{0,20}\bgames?\b|"
        r"\blet'?s play\b(?! it\b)(?!.*\b(?:music|song|video))",
        rf"\b(?:games?|bored|{_GAME}|puzzle)\b",
    ),
    _rule(
        "music",
        rf"\b{_ASKS}\b.{{0,30}}\b{_SONGS}\b|\b{_SONGS}\b.{{0,20}}\b(?:for|like|to)\b.{{0,30}}\b(?:sleep|study|run|work|"
        r"relax|party|mood|today|dance)|\bsomething to listen to\b|"
        r"\bplay (?:me )?something (?:sad|happy|calm|loud|soft|slow)\b",
        rf"\b(?:{_SONGS}|listen|listening|lyrics|spotify)\b",
    ),
    _rule(
        "video",
        rf"\b{_ASKS}\b.{{0,30}}\b{_SHOWS}\b|\bsomething to watch\b|\bwhat (?:should|can|could) (?:i|we) watch\b|"
        r"\bwatch later\b",
        rf"\b(?:{_SHOWS}|watch|watching)\b",
    ),
)


def surely(text: str, among: Iterable[str]) -> str | None:
    """The one agent, of those there are, that is surely meant; None: none is, or several."""
    there = set(among)
    found = [rule.agent for rule in RULES if rule.agent in there and rule.sure.search(text)]
    return found[0] if len(found) == 1 else None


def possibly(text: str, among: Iterable[str]) -> list[str]:
    """The agents, of those there are, that may be meant."""
    there = set(among)
    return [rule.agent for rule in RULES if rule.agent in there and (rule.maybe.search(text) or rule.sure.search(text))]
