"""Parses commands that are not moves: start a game, stop, explain the rules, suggest something to play.

By rules only. During a game only explicit commands count, because any word might be a move.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents.games.game import Game

Action = Literal["start", "again", "stop", "rules", "suggest"]
_STOP = re.compile(
    r"(?:please |ok |okay )?(?:stop|quit|exit|i give up|give up|end|enough|no more|i(?:'m| am) done|cancel)"
    r"(?: (?:the |this )?(?:game|playing)| now| please| it)*",
    re.IGNORECASE,
)
_RULES = re.compile(
    r"(?:help|rules|what are the rules|how (?:do|does|to) (?:i|we|it|this)?.{0,24}(?:play|work|go)?)", re.IGNORECASE
)
_AGAIN = re.compile(
    r"(?:again|once more|another(?: one| game| round)?|play again|rematch|one more)(?: please)?", re.IGNORECASE
)
_SUGGEST = re.compile(
    r"\b(?:suggest|recommend|which games?|what games?|what (?:can|should|could|shall) (?:we|i) play|"
    r"games? (?:for|to play)|something to play)\b",
    re.IGNORECASE,
)
_START = re.compile(r"\b(?:play|start|begin|new game|let'?s|how about|want|game of)\b", re.IGNORECASE)
MAX_START_WORDS = 12


@dataclass(frozen=True, slots=True)
class Command:
    """A command, and the id of the game that it names, if any."""

    action: Action
    game: str = ""


def command_of(text: str, games: Sequence[Game], *, is_playing: bool) -> Command | None:
    """The command in a message; None if it is a move or conversation."""
    message = text.strip().rstrip(".!?").strip()
    if _STOP.fullmatch(message):
        return Command("stop")
    if _RULES.fullmatch(message):
        return Command("rules")
    if _AGAIN.fullmatch(message) and not is_playing:
        return Command("again")
    named = _named(message, games)
    has_verb = bool(_START.search(message)) and len(message.split()) <= MAX_START_WORDS
    if named and has_verb:
        return Command("start", named)
    if is_playing:
        return None
    if named and len(message.split()) <= len(named.split()) + 3:
        return Command("start", named)
    if _SUGGEST.search(message) or (has_verb and re.search(r"\b(?:play|game)\b", message, re.IGNORECASE)):
        return Command("suggest")
    return None


def _named(text: str, games: Sequence[Game]) -> str:
    words = text.casefold()
    found = [
        (len(name), game.id)
        for game in games
        for name in (*game.names, game.title.casefold())
        if re.search(rf"\b{re.escape(name)}\b", words)
    ]
    return max(found)[1] if found else ""
