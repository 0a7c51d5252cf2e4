"""Reads the grammar files and expands their rules.

The notation: `= rule` and `@ scene weight` start a block; `>` starts what the user says in a scene and
`<` the reply, each followed by indented alternatives. In a line `[a|b]` chooses, `<rule>` expands
afresh, `{slot}` is drawn once and then reused, and `{!slot}` lets a reply introduce a new value. A reply
may use only slots that are bound already, so that it never invents what the person said. `{+mood}` in
what the user says raises a flag for the next reply, which `{?mood}` asks for; `{&name}` adds a known name.

It does not know spelling, dialogues or tokens.
"""

import hashlib
import random
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol

Speaker = Literal["user", "assistant"]
HELD_OUT_IN = 10
"""One user template in this many is held out of training."""

OPEN, CLOSE = "\x01", "\x02"
"""Marks around a slot's value in expanded text."""


class UnboundError(Exception):
    """A reply asked for a slot that nobody has bound."""


@lru_cache(maxsize=100_000)
def held_out(text: str) -> bool:
    """Whether a template or a value belongs to the held-out part; depends only on its text."""
    return hashlib.sha256(text.encode()).digest()[0] % HELD_OUT_IN == 0


@dataclass
class Turn:
    """One speaker's alternatives at one place of a scene."""

    speaker: Speaker
    lines: list[str] = field(default_factory=list)


@dataclass
class Scene:
    """A short scripted exchange: its turns, its weight and the slots worth remembering."""

    name: str
    weight: float
    turns: list[Turn] = field(default_factory=list)
    remember: list[str] = field(default_factory=list)
    ends: bool = False


@dataclass
class Grammar:
    """All rules and scenes."""

    rules: dict[str, list[str]] = field(default_factory=dict)
    scenes: dict[str, Scene] = field(default_factory=dict)


class Values(Protocol):
    """Where slots get their values: a scene's memory and the word lists behind it."""

    def draw(self, slot: str, speaker: Speaker, fresh: bool) -> str:
        """Return the slot's value, drawing it if allowed; raises `UnboundError` if not."""

    def fresh(self, kind: str) -> str:
        """Return a new value of a kind that no rule lists, bound to no slot."""


def load(folder: Path) -> Grammar:
    """Parse every grammar file in `folder`; raises ValueError naming the file and line."""
    grammar = Grammar()
    for path in sorted(folder.glob("*.txt")):
        rule: list[str] | None = None
        scene: Scene | None = None
        for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("= "):
                rule, scene = grammar.rules.setdefault(line[2:], []), None
            elif line.startswith("@ "):
                name, weight = line[2:].split()
                rule, scene = None, grammar.scenes.setdefault(name, Scene(name, float(weight)))
            elif scene is not None and line in "<>":
                scene.turns.append(Turn("user" if line == ">" else "assistant"))
                rule = scene.turns[-1].lines
            elif scene is not None and line.startswith("remember "):
                scene.remember.append(line.removeprefix("remember "))
            elif scene is not None and line == "end":
                scene.ends = True
            elif rule is not None and line.startswith(", "):
                rule.extend(item.strip() for item in line[2:].split(","))
            elif rule is not None:
                rule.append(line)
            else:
                raise ValueError(f"{path.name}:{number}: belongs to no rule: {line}")
    return grammar


@lru_cache(maxsize=100_000)
def split_choice(body: str) -> list[str]:
    """Split `a|b[c|d]` at its outer bars."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(body):
        if character in "[]":
            depth += 1 if character == "[" else -1
        elif character == "|" and depth == 0:
            parts.append(body[start:index])
            start = index + 1
    return [*parts, body[start:]]


@lru_cache(maxsize=100_000)
def closing(text: str, start: int) -> int:
    """Return the index of the bracket that closes the one at `start`."""
    depth = 0
    for index in range(start, len(text)):
        depth += {"[": 1, "]": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise ValueError(f"unclosed bracket: {text}")


NEXT = re.compile(r"\[|<(\w+)>|\{([!&+?]?)(\w+)\}")


def expand(text: str, grammar: Grammar, rng: random.Random, values: Values, speaker: Speaker) -> str:
    """Expand `text`; slot values stand between `OPEN` and `CLOSE`. Raises `UnboundError`."""
    out = ""
    while match := NEXT.search(text):
        out += text[: match.start()]
        rest = match.end()
        if match[0] == "[":
            rest = closing(text, match.start()) + 1
            options = split_choice(text[match.end() : rest - 1])
            out += first_possible(rng.sample(options, len(options)), grammar, rng, values, speaker)
        elif match[1] and match[1] not in grammar.rules:
            out += values.fresh(match[1])
        elif match[1]:
            options = grammar.rules[match[1]]
            out += first_possible(rng.sample(options, min(8, len(options))), grammar, rng, values, speaker)
        elif match[2] and match[2] in "&+?":
            out += values.draw(match[2] + match[3], speaker, fresh=False)
        else:
            out += OPEN + values.draw(match[3], speaker, fresh=match[2] == "!") + CLOSE
        text = text[rest:]
    return out + text


def first_possible(options: list[str], grammar: Grammar, rng: random.Random, values: Values, speaker: Speaker) -> str:
    """Expand the first of `options` whose slots are all available; raises `UnboundError` if none is."""
    for option in options:
        try:
            return expand(option, grammar, rng, values, speaker)
        except UnboundError:
            continue
    raise UnboundError(str(options))
