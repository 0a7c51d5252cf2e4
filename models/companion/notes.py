"""Training tasks about a conversation, with the right answers: memories with quotes, a summary, a title.

The prompt for memories is that of `memory.extraction.operations` (a test compares them): JSON with the known memories
and with numbered turns. The answer is a list of operations, each with a verbatim quote from one of the user's turns.
"""

import json
import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from models.companion.talk import SERVICE, Example, Talker
from models.companion.topics import Blanks, Part, Topic, UnboundError, of_part
from models.demo.wording import as_typed

LEADS = ("", "", "", "", "so ", "well, ", "by the way, ", "you know what? ", "guess what, ", "hey, ", "oh and ")
TAILS = ("", "", "", "", ", haha", ", anyway", ". what do you think?", ". how are you?", " :)", ", just so you know")
REPLACED = ("home", "work", "pet", "food", "hobby", "artist", "drink", "book")
"""Topics whose memory a later turn may replace."""
SUMMARY = (
    "Summarise this conversation in two sentences.",
    "Write a summary of the conversation above in exactly two sentences.",
    "Sum up in two sentences what was said.",
    "Give a short summary (two sentences) of this talk.",
    "What was this conversation about? Answer in two sentences.",
)
TITLE = (
    "Give this conversation a short title.",
    "Write a title of at most six words for this conversation.",
    "Name this chat in a few words.",
    "Suggest a title for the conversation above. Only the title.",
)


@dataclass
class NotedTurn:
    """One turn, and the memory in it, if any."""

    speaker: str
    text: str
    topic: Topic | None = None
    quote: str = ""
    third: str = ""
    when: str | None = None


class NoteTasks:
    """Writes examples of these tasks."""

    def __init__(self, seed: str, part: Part, talker: Talker) -> None:
        self.rng, self.part, self.talker = random.Random(f"notes-{part}-{seed}"), part, talker
        rules = talker.rules  # of a part that has its own
        self.leads = ("", *(f"{each} " for each in rules["lead"])) if "lead" in rules else LEADS
        self.tails = ("", *rules["tail"]) if "tail" in rules else TAILS
        self.replaced = rules.get("replaced", REPLACED)
        self.summaries, self.titles = rules.get("summary", SUMMARY), rules.get("title", TITLE)

    def statement(self, speaker: str) -> NotedTurn:
        """A turn of the user that contains a memory."""
        blanks = self.talker.blanks
        for _ in range(20):
            topic = self.talker.pick([each for each in self.talker.topics if each["third"]])
            if topic.name in self.used:
                continue
            blanks.enter(topic.name)
            template = self.rng.choice(of_part(topic["say"], self.part))
            try:
                clause = as_typed(blanks.written(template), blanks.typing, self.rng).rstrip(".!")
                third = f"{self.who} {blanks.plain_text(topic['third'][0])}."
            except UnboundError:
                continue
            self.used.add(topic.name)
            lead, tail = self.rng.choice(self.leads), self.rng.choice(self.tails)
            when = blanks.scene.get("when") if topic.kind in ("event", "goal") else None
            return NotedTurn(speaker, f"{lead}{clause}{tail}", topic, clause, third, when)
        raise UnboundError("all topics are used")

    def reply_to(self, turn: NotedTurn) -> NotedTurn:
        """The companion's reply to a turn."""
        blanks, talker = self.talker.blanks, self.talker
        if turn.topic is None:
            return NotedTurn(self.bot_speaker, talker.free(talker.rules["short_reply"]))
        blanks.enter(turn.topic.name)
        return NotedTurn(self.bot_speaker, talker.fresh_reply(turn.topic["reply"]))

    def chatter(self, speaker: str) -> NotedTurn:
        """A turn of the user without a memory."""
        rule = self.rng.choice(
            ("hi", "thanks", "short_said", "short_said", "who_are_you", "unknowable", "bye", "general")
        )
        if rule == "general":
            return NotedTurn(speaker, self.talker.rng.choice(self.talker.general)[0])
        return NotedTurn(speaker, self.talker.person(rule))

    def conversation(self, statements: int, chatter: int) -> list[NotedTurn]:
        """Turns of the user and the companion."""
        talker = self.talker
        talker.begin()
        self.used: set[str] = set()
        blanks = talker.blanks
        named = self.rng.random() < 0.5
        self.name = blanks.new_value("name") if named else ""
        self.who = self.name or "The person"
        self.bot_speaker = self.rng.choice(("assistant", talker.bot))
        speaker = self.name or "user"
        order = self.rng.sample([True] * statements + [False] * chatter, statements + chatter)
        turns: list[NotedTurn] = []
        for is_statement in order:
            turn = self.statement(speaker) if is_statement else self.chatter(speaker)
            turns.append(turn)
            if self.rng.random() < 0.8:
                turns.append(self.reply_to(turn))
        return turns

    def memories(self) -> Example:
        """Extraction of memories, with the service's own prompt."""
        turns = self.conversation(self.rng.choices((0, 1, 2, 3), (22, 38, 28, 12))[0], self.rng.choice((0, 1, 1, 2)))
        if not turns:
            return self.memories()
        day = date(2026, 1, 1) + timedelta(days=self.rng.randrange(360))
        cut = self.rng.randint(0, min(2, len(turns) - 1)) if self.rng.random() < 0.3 else 0
        before, turns = turns[:cut], turns[cut:]
        known, ops = self.known(turns)
        own = [each for each in turns if each.speaker == (self.name or "user")]
        if not own:
            return self.memories()
        ids = {id(each): f"t{number}" for number, each in enumerate(own, 1)}
        batch = {
            "known": [{"id": f"m{number}", "text": text} for number, text in enumerate(known, 1)],
            "before": [self.shown(each, None, day) for each in before],
            "turns": [self.shown(each, ids.get(id(each)), day) for each in turns],
        }
        operations = [
            self.operation(each, ids[id(each)], *ops.get(id(each), ("ADD", None)), day) for each in own if each.topic
        ]
        content = json.dumps(batch, ensure_ascii=False)
        answer = json.dumps({"operations": operations}, ensure_ascii=False)
        messages = [
            {"role": "system", "content": SERVICE["extraction"]},
            {"role": "user", "content": content},
            {"role": "assistant", "content": answer},
        ]
        turns_by_id = {ids[id(each)]: each.text for each in own}
        return Example("memories", messages, expect={"operations": operations, "turns": turns_by_id})

    def known(self, turns: list[NotedTurn]) -> tuple[list[str], dict[int, tuple[str, str | None]]]:
        """Known memories, and the operations of those turns that repeat or contradict one."""
        memories: list[tuple[str, NotedTurn | None, str]] = []
        for turn in turns:
            if turn.topic is None:
                continue
            chance = self.rng.random()
            if chance < 0.14:
                memories.append((turn.third, turn, "NOOP"))
            elif chance < 0.3 and turn.topic.name in self.replaced:
                old = Blanks(self.talker.grammar, self.rng, self.part)
                old.enter(turn.topic.name)
                old.written(turn.topic["say"][0])
                memories.append((f"{self.who} {old.plain_text(turn.topic['third'][0])}.", turn, "SUPERSEDE"))
        for _ in range(self.rng.choice((0, 0, 1, 2, 3))):
            topic = self.talker.pick(
                [each for each in self.talker.topics if each["third"] and each.name not in self.used]
            )
            other = Blanks(self.talker.grammar, self.rng, self.part)
            other.enter(topic.name)
            try:
                other.written(topic["say"][0])
                memories.append((f"{self.who} {other.plain_text(topic['third'][0])}.", None, ""))
            except UnboundError:
                continue
        self.rng.shuffle(memories)
        operations: dict[int, tuple[str, str | None]] = {
            id(turn): (op, f"m{number}") for number, (_, turn, op) in enumerate(memories, 1) if turn is not None
        }
        return [text for text, _, _ in memories], operations

    def operation(self, source: NotedTurn, turn: str, op: str, target: str | None, day: date) -> dict[str, Any]:
        """The operation for a turn, with fields in the schema's order."""
        assert source.topic is not None
        after = {"today": 0, "tonight": 0, "this evening": 0, "tomorrow": 1}.get(source.when or "")
        return {
            "turn": turn,
            "quote": source.quote,
            "op": op,
            "target": target,
            "text": source.third,
            "kind": source.topic.kind,
            "event_at": None if after is None else str(day + timedelta(days=after)),
            "sensitivity": source.topic.sensitivity,
            "confidence": 0.9,
        }

    @staticmethod
    def shown(turn: NotedTurn, id_: str | None, day: date) -> dict[str, str]:
        """A turn in the service's format."""
        shown = {"speaker": turn.speaker, "said_at": f"{day:%Y-%m-%d}", "text": turn.text}
        return shown if id_ is None else {"id": id_, **shown}

    def transcript(self, turns: list[NotedTurn]) -> str:
        """A conversation as text."""
        return "\n".join(f"{each.speaker}: {each.text}" for each in turns)

    def request_about(self, turns: list[NotedTurn], task: str) -> list[dict[str, Any]]:
        """A request about a conversation: the conversation in one message, or as messages before the request."""
        if self.rng.random() < 0.65:
            text = self.transcript(turns)
            if self.rng.random() < 0.5:
                return [{"role": "user", "content": f"{text}\n\n{task}"}]
            return [{"role": "system", "content": task}, {"role": "user", "content": text}]
        messages: list[dict[str, Any]] = []
        for each in turns:
            role = "assistant" if each.speaker == self.bot_speaker else "user"
            if messages and messages[-1]["role"] == role:
                messages[-1]["content"] += "\n" + each.text
            else:
                messages.append({"role": role, "content": each.text})
        return [*messages, {"role": "user", "content": task}]

    def summary(self) -> Example:
        """A summary in two sentences."""
        turns = self.conversation(self.rng.choice((2, 2, 3, 3, 4)), self.rng.choice((0, 0, 1)))
        facts = [each for each in turns if each.topic is not None]
        predicates = [each.third.removeprefix(self.who).strip().rstrip(".") for each in facts]
        first = predicates[0] if len(predicates) < 3 else f"{predicates[0]} and {predicates[1]}"
        rest = predicates[1:] if len(predicates) < 3 else predicates[2:]
        second = f"{self.name or 'The person'} also {' and '.join(rest)}."
        second = second.replace(" also is ", " is also ").replace(" also has ", " also has ")
        messages = self.request_about(turns, self.rng.choice(of_part(self.summaries, self.part)))
        messages.append({"role": "assistant", "content": f"{self.who} {first}. {second}"})
        return Example("summary", messages, expect={"facts": [each.quote for each in facts]})

    def title(self) -> Example:
        """A title."""
        turns = self.conversation(self.rng.choice((1, 1, 2)), self.rng.choice((0, 1)))
        topic = next(each.topic for each in turns if each.topic is not None)
        self.talker.blanks.enter(topic.name)
        title = self.talker.blanks.reply(self.rng.choice(topic["title"]))
        messages = self.request_about(turns, self.rng.choice(of_part(self.titles, self.part)))
        messages.append({"role": "assistant", "content": title})
        return Example("title", messages)
