"""Conversations with the companion: a persona, known facts about the user in the service's own format, and some turns.

A reply uses only what the user has said and the known facts; to any other question about the user, it answers that it
does not know. No reply occurs twice in a conversation. The service's small tasks are in `tools` and `notes`.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from models.companion.topics import (
    DATA,
    Blanks,
    Part,
    Topic,
    UnboundError,
    folder_of,
    of_part,
    read_grammar,
    read_topics,
)
from models.demo.grammar import Grammar

SERVICE: dict[str, Any] = json.loads((DATA / "service_prompts.json").read_text(encoding="utf-8"))
"""Sentences of the service's own prompts; a test compares them with `serving` and `memory`."""
BOTS = ("Bondhu", "Bondhu", "Bondhu", "Bondhu", "Mira", "Kai", "Nova", "Sunny", "Pixel", "Robin", "Ada", "Juno")
THINGS = ("my job", "my exam", "my ex", "my cat", "the fight", "my trip", "my health", "my sister")
"""What a person may ask to forget, or not to mention."""
TRIES = 12
JOINTS = ("\n", "\n", "\n", "")
"""Text between the parts of a message: chat templates join them with a line break, and some with nothing."""


@dataclass
class Example:
    """A training or test example. `copied`: (message, proper noun); `expect`: what an evaluation checks."""

    kind: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[dict[str, Any]] | None = None
    copied: list[tuple[int, str]] = field(default_factory=list)
    expect: dict[str, Any] = field(default_factory=dict)


def read_talk(part: Part = "train") -> dict[str, list[str]]:
    """The rules of a part's `talk.txt`."""
    rules: dict[str, list[str]] = {}
    lines: list[str] = []
    for raw in (folder_of(part) / "talk.txt").read_text(encoding="utf-8").splitlines():
        if raw.startswith("= "):
            lines = rules.setdefault(raw[2:].strip(), [])
        elif raw.strip() and not raw.startswith("#"):
            lines.append(raw.strip())
    return rules


class Repeated(Exception):
    """All possible replies have occurred in this conversation."""


class Talker:
    """Writes conversations of one part; `general`: (question, answer) pairs to mix in."""

    def __init__(self, seed: str, part: Part, general: Sequence[tuple[str, str]]) -> None:
        self.rng, self.part, self.general = random.Random(f"talk-{part}-{seed}"), part, general
        self.grammar: Grammar = read_grammar(part)
        self.rules = read_talk(part)
        topics = list(read_topics(part)[0].values())
        self.topics = [each for each in topics if part != "train" or not each.held]
        self.held = [each for each in topics if each.held]

    def begin(self) -> None:
        """Start an empty conversation."""
        self.example = Example("talk")
        self.blanks = Blanks(self.grammar, self.rng, self.part)
        self.bot = self.rng.choice(self.rules.get("bot", BOTS))
        self.known: list[Topic] = []
        self.earlier_sentences: set[str] = set()
        self.replied: set[str] = set()

    def write(self) -> Example:
        """The next conversation."""
        self.begin()
        notes = self.rng.random() < 0.06
        if self.rng.random() < 0.9:
            self.system(self.rng.choices((0, 1, 2, 3, 4, 6), (30, 12, 18, 18, 12, 10))[0], note=notes)
        if not notes or not self.note_turn():
            moves = self.moves()
            if self.rng.random() < 0.3:
                self.attempt(self.greet)
            for _ in range(self.rng.choices((1, 2, 3, 4, 5, 6), (16, 20, 22, 18, 14, 10))[0]):
                self.attempt(self.rng.choices([each for each, _ in moves], [weight for _, weight in moves])[0])
            if self.rng.random() < 0.1:
                self.attempt(self.farewell)
        return self.example if any(each["role"] == "assistant" for each in self.example.messages) else self.write()

    def moves(self) -> list[tuple[Callable[[], None], float]]:
        """The possible next moves of a conversation, with weights."""
        return [
            (self.tell, 30),
            (self.use_known, 16),
            (self.ask_known, 16),
            (self.ask_unknown, 7),
            (self.unknowable, 6),
            (self.ask_general, 14),
            (self.feel, 8),
            (self.name, 6),
            (self.ask_name, 4),
            (self.who_are_you, 3),
            (self.know_me, 4),
            (self.small, 4),
            (self.thank, 3),
            (self.trouble, 1),
        ]

    def attempt(self, move: Callable[[], None]) -> None:
        """Make a move, unless it would repeat or invent something."""
        before = len(self.example.messages)
        try:
            move()
        except (UnboundError, Repeated, IndexError):
            keep = before + (len(self.example.messages) - before) // 2 * 2
            del self.example.messages[keep:]

    # -- the system prompt

    def pick(self, topics: Sequence[Topic]) -> Topic:
        """A topic; one that is held out every other time in that part."""
        held = [each for each in topics if each.held]
        return self.rng.choice(held if held and self.rng.random() < 0.5 else list(topics))

    def system(self, count: int, *, note: bool = False) -> None:
        """Write the system prompt: a persona and `count` known facts, in the service's format."""
        sections = (
            [self.rng.choice(self.rules["persona"]).replace("{bot}", self.bot)] if self.rng.random() < 0.92 else []
        )
        profile, recalled = self.past(count)
        if profile or recalled or note:
            sections.append(SERVICE["introduction"])
        later = recalled if self.rng.random() < 0.3 else []
        sections += ["\n".join(lines) for lines in (profile, [] if later else recalled) if lines]
        self.before_question = later
        if note:
            sections.append(self.draw_note())
        self.joint = self.rng.choice(JOINTS)
        if sections:
            self.example.messages.append({"role": "system", "content": self.joint.join(sections)})

    def past(self, count: int) -> tuple[list[str], list[str]]:
        """Known facts: lines of the profile, and recalled lines."""
        blanks, rng = self.blanks, self.rng
        profile: list[str] = []
        recalled: list[tuple[date, str]] = []
        if count and rng.random() < 0.6:
            blanks.facts["name"] = blanks.new_value("name")
            profile.append(f"They are called {blanks.facts['name']}.")
        details: list[str] = []
        for _ in range(count):
            topic = self.pick(self.topics)
            if topic in self.known:
                continue
            self.known.append(topic)
            blanks.enter(topic.name)
            statement = blanks.written(rng.choice(topic["say"]))
            third = self.third(topic)
            at = date(2026, 1, 1) + timedelta(days=rng.randrange(330))
            ways = ["said"] + ["remembered"] * bool(third) + ["detail", "pinned"] * bool(topic["detail"] and third)
            way = rng.choice(ways)
            if way == "detail":
                details.append(blanks.plain_text(topic["detail"][0]))
            elif way == "pinned":
                profile.append(f"Always remember: {third}")
            elif way == "remembered":
                recalled.append((at, f"- {at}, remembered: {third}"))
            else:
                recalled.append((at, f"- {at}, {blanks.facts.get('name', 'user')} said: {statement}"))
        if recalled and rng.random() < 0.3:
            at = date(2026, 1, 1) + timedelta(days=rng.randrange(330))
            recalled.append((at, f"- {at}, {self.bot} said: {self.free(self.rules['short_reply'])}"))
        lines = [line for _, line in sorted(recalled)]
        where = 1 if profile and profile[0].startswith("They are called") else 0
        profile[where:where] = sorted(details)
        return profile, ["From before:", *lines] if lines else []

    def third(self, topic: Topic) -> str:
        """A topic's fact in the third person; empty if a value is missing."""
        who = self.blanks.facts.get("name") or "The person"
        try:
            return f"{who} {self.blanks.plain_text(topic['third'][0])}." if topic["third"] else ""
        except UnboundError:
            return ""

    def free(self, templates: Sequence[str]) -> str:
        """A reply that does not depend on any fact."""
        return self.blanks.reply(self.rng.choice(list(templates)).replace("{bot}", self.bot))

    # -- turns

    def turn(self, typed: str, templates: Sequence[str]) -> None:
        """Add a user message, and a reply from one of `templates`; raises Repeated or UnboundError."""
        self.exchange(typed, self.fresh_reply(templates))

    def fresh_reply(self, templates: Sequence[str]) -> str:
        """A reply that has not been given yet."""
        unbound: UnboundError | None = None
        for _ in range(TRIES):
            try:
                reply = self.blanks.reply(self.rng.choice(list(templates)).replace("{bot}", self.bot))
            except UnboundError as problem:
                unbound = problem
                continue
            if reply not in self.replied and not set(sentences(reply)) & self.replied:
                return reply
        raise unbound or Repeated

    def exchange(self, typed: str, reply: str) -> None:
        """Add one exchange; recalled lines may come before the user's message."""
        content = typed
        if getattr(self, "before_question", None) and not self.example.copied:
            content = self.joint.join(["\n".join(self.before_question), typed])
            self.before_question = []
        letters = "".join(letter for letter in typed.lower() if letter.isalnum())
        if letters in self.earlier_sentences:
            raise Repeated
        self.earlier_sentences.add(letters)
        self.replied |= {reply, *sentences(reply)}
        self.example.messages.append({"role": "user", "content": content})
        self.example.copied += [(len(self.example.messages), each) for each in self.blanks.names_in(reply)]
        self.example.messages.append({"role": "assistant", "content": reply})

    def person(self, rule: str) -> str:
        """A user message of this part, from `talk.txt`."""
        return self.blanks.typed(self.rng.choice(of_part(self.rules[rule], self.part)).replace("{bot}", self.bot))

    def greet(self) -> None:
        """Greet; the reply may ask about known facts."""
        self.turn(self.person("hi"), self.rules["hi_reply"])

    def tell(self) -> None:
        """Talk about a new topic, possibly with a second turn."""
        fresh = [each for each in self.topics if each not in self.known]
        topic = self.pick(fresh)
        self.blanks.enter(topic.name)
        self.turn(self.blanks.typed(self.rng.choice(of_part(topic["say"], self.part))), topic["reply"])
        self.known.append(topic)
        if topic.more and self.rng.random() < 0.55:
            statement, then = self.rng.choice(topic.more)
            choice, reply = paired(statement, then, self.rng)
            self.turn(self.blanks.typed(choice), [reply])

    def use_known(self) -> None:
        """Say something for which a known fact is useful."""
        topic = self.rng.choice([each for each in self.known if each.cue])
        self.blanks.enter(topic.name)
        statement, reply = self.rng.choice(topic.cue)
        self.turn(self.blanks.typed(statement), [reply])

    def ask_known(self) -> None:
        """Ask about a known fact."""
        topic = self.rng.choice([each for each in self.known if each["answer"]])
        self.blanks.enter(topic.name)
        self.turn(self.blanks.typed(self.rng.choice(of_part(topic["ask"], self.part))), topic["answer"])

    def ask_unknown(self) -> None:
        """Ask about an unknown fact."""
        topic = self.pick([each for each in self.topics if each["unknown"] and each not in self.known])
        questions = [each for each in of_part(topic["ask"], self.part) if "{" not in each]
        self.blanks.scene = {}
        self.turn(
            self.blanks.typed(self.rng.choice(questions)),
            [*topic["unknown"], *topic["unknown"], *self.rules["dont_know"]],
        )

    def unknowable(self) -> None:
        """Ask what the companion cannot know."""
        self.blanks.scene = {}
        self.turn(self.person("unknowable"), self.rules["dont_know"])

    def ask_general(self) -> None:
        """Ask a general question; the reply is the base model's own."""
        question, answer = self.rng.choice(self.general)
        self.exchange(self.blanks.typed(question) if self.rng.random() < 0.4 else question, answer)

    def feel(self) -> None:
        """Say how one feels."""
        typed = self.person("feeling")
        low = typed.lower()
        kinds = {
            "sad": ("sad", "down", "low", "awful", "empty", "lost", "bad", "hard", "mess"),
            "tired": ("tired", "exhausted", "worn", "sleep", "long"),
            "worried": ("anxious", "nervous", "worried", "restless"),
            "angry": ("angry", "annoyed", "frustrated"),
            "glad": ("happy", "great", "good", "wonderful", "lovely"),
        }
        found = next((kind for kind, words in kinds.items() if any(word in low for word in words)), "plain")
        self.turn(typed, self.rules[f"feeling_{found}"])

    def name(self) -> None:
        """Say one's name."""
        if "name" in self.blanks.facts:
            raise Repeated
        self.blanks.enter("self")
        typed = self.person("i_am")
        self.blanks.facts["name"] = self.blanks.scene["name"]
        self.turn(typed, self.rules["i_am_reply"])

    def ask_name(self) -> None:
        """Ask for one's name."""
        self.blanks.scene = dict(self.blanks.facts)
        self.turn(self.person("ask_name"), self.rules["tell_name" if self.blanks.facts else "no_name"])

    def who_are_you(self) -> None:
        """Ask who the companion is; it gives the name that its prompt gives it."""
        named = any(each["role"] == "system" and self.bot in each["content"] for each in self.example.messages)
        self.turn(self.person("who_are_you"), self.rules["i_am_bot" if named else "i_am_bot_short"])

    def know_me(self) -> None:
        """Ask what the companion knows; the reply names two or three facts."""
        facts = []
        for topic in self.rng.sample(self.known, len(self.known)):
            self.blanks.enter(topic.name)
            third = self.third(topic)
            if third:
                facts.append("you " + you_form(third.split(" ", 2 if third.startswith("The ") else 1)[-1].rstrip(".")))
        name = self.blanks.facts.get("name")
        facts = [f"you're called {name}"] * bool(name) + facts[: self.rng.choice((2, 3))]
        if not facts:
            self.turn(self.person("know_me"), self.rules["know_nothing"])
            return
        known = facts[0] if len(facts) == 1 else ", ".join(facts[:-1]) + " and " + facts[-1]
        template = self.rng.choice(self.rules["know_some"]).replace("{known}", known)
        self.turn(self.person("know_me"), [template])

    def small(self) -> None:
        """Give a short response."""
        if not self.replied:
            raise Repeated
        self.turn(self.person("short_said"), self.rules["short_reply"])

    def thank(self) -> None:
        """Say thanks."""
        if not self.replied:
            raise Repeated
        self.turn(self.person("thanks"), self.rules["thanks_reply"])

    def trouble(self) -> None:
        """Mention a crisis."""
        self.turn(self.person("crisis"), self.rules["crisis_reply"])

    def farewell(self) -> None:
        """Say goodbye."""
        self.turn(self.person("bye"), self.rules["bye_reply"])

    # -- notes on memory

    def draw_note(self) -> str:
        """The service's note on a change of memory that the user requested."""
        kind = self.rng.choice(("remember", "remember", "forget", "mute", "not_done", "nothing"))
        self.note = kind
        if kind in ("not_done", "nothing"):
            return str(SERVICE[kind])
        count = self.rng.choice((1, 1, 2, 3))
        return str(SERVICE["done"][kind]).format(count, "", "")  # without what it was, nor until when it can be undone

    def note_turn(self) -> bool:
        """The turn that goes with such a note."""
        rules = {"remember": "remember_that", "forget": "forget_that", "mute": "mute_that"}
        done = {"remember": "noted", "forget": "forgotten", "mute": "muted"}
        kind = getattr(self, "note", "remember")
        rule = rules.get(kind) or self.rng.choice(list(rules.values()))
        reply = done.get(kind) or {"not_done": "not_done", "nothing": "nothing_found"}[kind]
        topic = self.pick(self.topics)
        self.blanks.enter(topic.name)
        fact = self.blanks.written(self.rng.choice(topic["say"]))
        thing = self.rng.choice(self.rules.get("thing", THINGS))
        template = self.rng.choice(self.rules[rule]).replace("{thing_known}", thing)
        self.exchange(self.blanks.typed(template.replace("{fact}", fact)), self.free(self.rules[reply]))
        return True


def sentences(reply: str) -> list[str]:
    """The longer sentences of a reply, whose repetition a reader would notice."""
    parts = reply.replace("!", ".").replace("?", ".").split(".")
    return [each.strip() for each in parts if len(each.strip()) > 18]


def you_form(predicate: str) -> str:
    """Convert a predicate for use after "you": `has a cat` to `have a cat`."""
    verb, _, rest = predicate.partition(" ")
    irregular = {"has": "have", "is": "are", "does": "do", "misses": "miss", "enjoys": "enjoy", "plays": "play"}
    plural = irregular.get(verb) or (verb[:-1] if verb.endswith("s") else verb)
    return f"{plural} {rest}".strip()


def paired(statement: str, then: str, rng: random.Random) -> tuple[str, str]:
    """Replace a choice that both lines contain by the same alternative."""
    start, stop = statement.find("["), statement.find("]")
    if start < 0 or statement[start : stop + 1] not in then:
        return statement, then
    choice = rng.choice(statement[start + 1 : stop].split("|"))
    return statement.replace(statement[start : stop + 1], choice), then.replace(statement[start : stop + 1], choice)
