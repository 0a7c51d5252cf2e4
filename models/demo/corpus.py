"""Composes training and held-out dialogues from the grammar.

A dialogue has a typing style, sometimes a system prompt, and a few scenes, with questions about earlier
statements in between. The same seed and part give the same dialogues. Held-out user templates and
held-out proper nouns never occur in training; held-out dialogues consist mostly of them.

    python -m models.demo.corpus --count 5      # print some
"""

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from models.demo import tool_talk
from models.demo.grammar import Grammar, Scene, Turn, UnboundError, held_out, load
from models.demo.memory import PROPER, Memory, expansion
from models.demo.wording import as_reply, as_typed, draw_habit, to_you

GRAMMAR = Path(__file__).with_name("grammar")
OPENERS = ("hello", "hello_name", "hello_name_place", "how_are_you")
ANSWERS = ("good_state", "good_state", "sad", "happy", "tired", "stressed", "what_doing", "my_day", "angry", "lonely")
FILLERS = ("dunno", "short", "thanks")
REPLIES_WEIGHED = 8
SYSTEM_PROMPTS = (
    "You are Bondhu, a friendly companion.",
    "You are a helpful assistant.",
    "You are Bondhu.",
    "Be kind and brief.",
    "You are Bondhu, a warm friend who listens.",
    "You are a friendly companion. Keep replies short.",
)
Part = Literal["train", "held_out"]


@dataclass
class Dialogue:
    """Chat messages, offered tools, used templates, and (message, proper noun) for every noun that a reply repeats."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[dict[str, Any]] | None = None
    templates: list[str] = field(default_factory=list)
    copied: list[tuple[int, str]] = field(default_factory=list)


class Writer:
    """Writes one dialogue at a time, with the templates and values of a part."""

    def __init__(self, grammar: Grammar, seed: int | str, part: Part) -> None:
        self.grammar, self.rng, self.training = grammar, random.Random(f"{part}-{seed}"), part == "train"
        body = [scene for scene in grammar.scenes.values() if scene.name not in (*OPENERS, *FILLERS, "bye")]
        self.body, self.weights = body, [scene.weight for scene in body]

    def write(self) -> Dialogue:
        """Return the next dialogue."""
        self.dialogue = Dialogue()
        self.memory = Memory(self.grammar, self.rng, draw_habit(self.rng), self.training)
        if self.rng.random() < 0.04:
            tool_talk.write(self.dialogue, self.memory, self.training)
            return self.dialogue
        if self.rng.random() < 0.18:
            self.system_prompt()
        if self.rng.random() < 0.45:
            self.play(self.grammar.scenes[self.rng.choice(OPENERS)])
            if self.rng.random() < 0.6:
                self.play(self.grammar.scenes[self.rng.choice(ANSWERS)])
        for _ in range(self.rng.choices((1, 2, 3, 4, 9), (36, 34, 18, 9, 3))[0]):
            self.play(self.rng.choices(self.body, self.weights)[0])
            if self.rng.random() < 0.08:
                self.play(self.grammar.scenes[self.rng.choice(FILLERS)])
            if self.memory.facts and self.rng.random() < 0.35:
                self.recall(self.rng.choice(list(self.memory.facts)))
            elif self.rng.random() < 0.04:
                self.recall(self.rng.choice(("name", "name", "place", "artist", "game", "film", "pet_name")))
        if self.rng.random() < 0.12:
            self.play(self.grammar.scenes["bye"])
        return self.dialogue

    def system_prompt(self) -> None:
        """Write a system prompt, often with facts about the user."""
        lines = [self.rng.choice(SYSTEM_PROMPTS)]
        if self.rng.random() < 0.6:
            self.memory.start_scene()
            lines.append(self.rng.choice(("What you know about the user:", "About the user:", "Facts about the user:")))
            facts = {
                "name": "name: {name}",
                "place": "lives in {place}",
                "hobby": "likes {hobby}",
                "artist": "favourite artist: {artist}",
                "game": "plays {game}",
                "pet_name": "pet: {pet_name}",
            }
            for slot in self.rng.sample(list(facts), self.rng.choice((1, 2, 3))):
                lines.append("- " + self.plain(facts[slot]))
                self.memory.remember([slot])
        self.dialogue.messages.append({"role": "system", "content": "\n".join(lines)})

    def plain(self, template: str) -> str:
        """Expand a template as the user's words, in clean spelling."""
        return expansion(self.memory, template, "user").replace("\x01", "").replace("\x02", "")

    def play(self, scene: Scene) -> None:
        """Write a scene, sometimes only up to one of its replies."""
        self.memory.start_scene()
        for turn in scene.turns:
            self.say(turn)
            if turn.speaker == "assistant" and self.rng.random() < 0.15:
                break
        self.memory.remember(scene.remember)

    def say(self, turn: Turn) -> None:
        """Write one turn; of several replies, those that refer to the user's last message are preferred."""
        if turn.speaker == "user":
            self.memory.last_mentioned.clear()
        found: list[tuple[int, str, str]] = []
        for line in self.ordered(turn):
            try:
                found.append((0, line, expansion(self.memory, line, turn.speaker)))
            except UnboundError:
                continue
            if turn.speaker == "user" or len(found) == REPLIES_WEIGHED:
                break
        if not found:
            raise UnboundError(f"no alternative fits: {turn.lines}")
        if turn.speaker == "assistant":
            found = [(self.taken_up(line, text), line, text) for _, line, text in found]
            found.sort(key=lambda each: each[0], reverse=self.rng.random() < 0.92)
        _, line, text = found[0]
        self.dialogue.templates.append(line)
        typed = as_typed(text, self.memory.habit, self.rng) if turn.speaker == "user" else as_reply(text)
        if turn.speaker == "assistant":
            values = {self.memory.scene[slot] for slot in self.memory.mentioned if slot in PROPER}
            index = len(self.dialogue.messages)
            self.dialogue.copied += [(index, value) for value in sorted(values) if value in typed]
        self.dialogue.messages.append({"role": turn.speaker, "content": typed})

    def taken_up(self, line: str, text: str) -> int:
        """Count the slots and flags of the user's last message that a reply refers to; a flag counts double."""
        count = 0
        for slot in self.memory.last_mentioned:
            if slot[0] == "+":
                count += 2 * ("{?" + slot[1:] + "}" in line)
            else:
                value = self.memory.scene[slot]
                count += value in text or to_you(value) in text
        return count

    def ordered(self, turn: Turn) -> list[str]:
        """Return a turn's alternatives in random order, a user's only from this part's templates."""
        lines = self.rng.sample(turn.lines, len(turn.lines))
        if turn.speaker == "user" and len(lines) >= 4:
            return [line for line in lines if held_out(line) != self.training] or lines
        return lines

    def recall(self, slot: str) -> None:
        """Ask for a fact that was stated earlier, or never."""
        self.memory.start_scene()
        known = slot in self.memory.facts
        self.memory.scene = dict(self.memory.facts)
        self.memory.mentioned = set(self.memory.facts)
        self.say(Turn("user", self.grammar.rules[f"q_{slot}"]))
        self.say(Turn("assistant", self.grammar.rules[f"a_{slot}" if known else f"n_{slot}"]))


def dialogues(seed: int | str, part: Part) -> Iterator[Dialogue]:
    """Yield dialogues without end."""
    writer = Writer(load(GRAMMAR), seed, part)
    while True:
        yield writer.write()


def main() -> None:
    """Print some dialogues."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--part", choices=("train", "held_out"), default="train")
    options = parser.parse_args()
    for _, dialogue in zip(range(options.count), dialogues(options.seed, options.part), strict=False):
        for message in dialogue.messages:
            print(f"{message['role']:>9}: {message.get('content') or message.get('tool_calls')}")
        print()


if __name__ == "__main__":
    main()
