"""The bound values of one dialogue: the slots of the current scene, and the facts that can be recalled.

New values come from the word lists and from made-up names, so many that a model cannot memorise them;
`grammar.held_out` splits them into training and held-out values.
"""

import random
import re

from models.demo.grammar import CLOSE, OPEN, Grammar, Speaker, UnboundError, expand, first_possible, held_out
from models.demo.wording import Habit, syllables, title_case, to_you

PROPER = {  # slot: (list of real ones, grammar of made-up ones, share of real ones)
    "name": ("first_name", "syllables", 0.45),
    "person": ("first_name", "syllables", 0.45),
    "place": ("city", "syllables", 0.5),
    "artist": ("real_artist", "band", 0.25),
    "song": ("real_song", "title", 0.2),
    "film": ("real_film", "title", 0.25),
    "game": ("real_game", "title", 0.3),
    "book": ("real_book", "title", 0.2),
}
KEPT_CASE = ("first_name", "city", "language", "day", "real_artist", "real_song", "real_film", "real_game", "real_book")
PHRASES = ("bad_event", "good_event", "stress", "plan", "doing", "did", "somebody", "skill_goal", "words")


class Memory:
    """Bound slots of one dialogue; `training` chooses the part that new values come from."""

    def __init__(self, grammar: Grammar, rng: random.Random, habit: Habit, training: bool) -> None:
        self.grammar, self.rng, self.habit, self.training = grammar, rng, habit, training
        self.scene: dict[str, str] = {}
        self.mentioned: set[str] = set()
        self.last_mentioned: set[str] = set()
        self.facts: dict[str, str] = {}

    def start_scene(self) -> None:
        """Clear the slots of the last scene; the facts stay."""
        self.scene, self.mentioned = {}, set()

    def draw(self, slot: str, speaker: Speaker, fresh: bool) -> str:
        """Return the slot's value; raises `UnboundError` if a reply would have to invent it."""
        if slot == "&name":
            known = self.facts.get("name")
            return f", {OPEN}{known}{CLOSE}" if known and self.rng.random() < 0.25 else ""
        if slot[0] in "+?":
            flag = "+" + slot[1:]
            if slot[0] == "?" and flag not in self.last_mentioned:
                raise UnboundError(slot)
            self.last_mentioned.add(flag)
            return ""
        if slot not in self.scene:
            if speaker == "assistant" and not fresh:
                raise UnboundError(slot)
            self.scene[slot] = self.new_value(re.sub(r"\d+$", "", slot))
        if speaker == "user":
            self.mentioned.add(slot)
            self.last_mentioned.add(slot)
        value = self.scene[slot]
        reflect = speaker == "assistant" and slot.rstrip("0123456789") in PHRASES
        return to_you(value) if reflect else value

    def remember(self, slots: list[str]) -> None:
        """Keep as facts those `slots` of the scene that the person has said."""
        self.facts |= {slot: self.scene[slot] for slot in slots if slot in self.mentioned}

    def made_up(self) -> str:
        """Return a made-up name of the right part."""
        while held_out(word := syllables(self.rng)) == self.training:
            pass
        return word.lower() if self.habit.casing == "lower" else word

    def listed(self, rule: str) -> str:
        """Return an entry of a list; proper nouns keep their part, common words have none."""
        options = self.grammar.rules[rule]
        if rule in KEPT_CASE:
            options = [option for option in options if held_out(option) != self.training] or options
        text = self.rng.choice(options)
        if self.habit.casing == "lower" and rule not in KEPT_CASE[:4]:
            return text.lower()
        return text

    def new_value(self, slot: str) -> str:
        """Draw a value for a kind of slot."""
        if slot == "syllables":
            return self.made_up()
        if slot not in PROPER:
            return self.plain(slot)
        real, rule, share = PROPER[slot]
        if self.rng.random() < share:
            return self.listed(real)
        if rule == "syllables":
            return self.made_up()
        value = self.plain(rule)
        return value if self.habit.casing == "lower" else title_case(value)

    def plain(self, rule: str) -> str:
        """Expand a rule into a value without marks."""
        if rule in KEPT_CASE:
            return self.listed(rule)
        options = self.rng.sample(self.grammar.rules[rule], min(6, len(self.grammar.rules[rule])))
        text = first_possible(options, self.grammar, self.rng, self, "user")
        text = text.replace(OPEN, "").replace(CLOSE, "")
        return text.lower() if self.habit.casing == "lower" and rule in PHRASES else text

    def fresh(self, kind: str) -> str:
        """Return a proper noun for use inside a phrase, bound to no slot."""
        return self.made_up() if kind == "syllables" else self.new_value(kind)


def expansion(memory: Memory, text: str, speaker: Speaker) -> str:
    """Expand one template for `speaker` with the memory's slots; raises `UnboundError`."""
    return expand(text, memory.grammar, memory.rng, memory, speaker)
