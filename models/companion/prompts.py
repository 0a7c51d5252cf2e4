"""The evaluation's prompts for `models.companion.generate`, from the held-out part, each with what is expected.

The same seed gives the same prompts. The easy questions and their accepted answers are written by hand
(`data/easy_questions.txt`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from models.companion.corpus import Corpus
from models.companion.general import easy_questions
from models.companion.talk import Example, Talker

COUNTS = {"talk": 120, "recall": 100, "unknown": 100, "route": 100, "call": 60, "fields": 40, "memories": 60}
COUNTS |= {"summary": 30, "title": 20, "dialogue": 10}
UNSEEN_COUNTS = {"easy_persona": 24, "reply": 60, "recall": 40, "name": 12, "unknown": 40, "route": 40, "call": 24}
UNSEEN_COUNTS |= {"fields": 20, "memories": 10, "summary": 12, "title": 12, "dialogue": 4}
"""Of topics and templates that no corpus has; of the easy questions, all are asked. A CPU answers them in minutes."""
UNSEEN_FIRST = {"easy": 48, "reply": 24, "recall": 48, "unknown": 24, "route": 24, "call": 12, "fields": 12}
UNSEEN_FIRST |= {"memories": 5, "summary": 6, "title": 6, "dialogue": 2}
"""So many of each come first, so that a part of the answers has every kind of task."""
MAX_TOKENS = {"route": 32, "call": 80, "fields": 80, "memories": 320, "summary": 80, "title": 20}
TURNS = 5

Prompt = dict[str, Any]


def persona(talker: Talker) -> dict[str, Any]:
    """The first persona of a part, as a message."""
    return {"role": "system", "content": talker.rules["persona"][0].replace("{bot}", "Bondhu")}


def questions(talker: Talker) -> Iterator[Prompt]:
    """Yield each easy question twice: alone, and with the companion's persona."""
    for question, accepted in easy_questions(talker.part):
        message = {"role": "user", "content": question}
        expect = {"accepted": accepted}
        yield {"task": "easy", "messages": [message], "max_tokens": 48, "expect": expect}
        yield {"task": "easy_persona", "messages": [persona(talker), message], "max_tokens": 48, "expect": expect}


def replies(talker: Talker, count: int) -> Iterator[Prompt]:
    """Yield the replies of `count` conversations, to compute their loss."""
    for _ in range(count):
        example = talker.write()
        for index, message in enumerate(example.messages):
            if message["role"] == "assistant" and index:
                before = example.messages[:index]
                yield {"task": "reply", "messages": before, "reply": message["content"]}


def filled(talker: Talker, known: int) -> Example:
    """A conversation that so far has only a system prompt with known facts."""
    while True:
        talker.begin()
        talker.system(known)
        talker.before_question = []
        if len(talker.known) >= min(known, 2) and talker.example.messages:
            return talker.example


def recall(talker: Talker) -> Prompt:
    """A question about one of a few known facts; the answer must contain its value."""
    while True:
        example = filled(talker, talker.rng.choice((2, 3, 4)))
        if talker.rng.random() < 0.4:
            talker.attempt(talker.tell)
        talker.attempt(talker.ask_known)
        if example.messages[-1]["role"] != "assistant":
            continue
        reply = example.messages[-1]["content"]
        held = {value for scene in talker.blanks.topics.values() for value in scene.values()}
        values = sorted(value for value in held if value.lower() in reply.lower() and len(value) > 1)
        context = "\n".join(str(each["content"]) for each in example.messages[:-1]).lower()
        value = max(values, key=len, default="")
        if value and value.lower() in context and "whom" not in reply:
            return {"task": "recall", "messages": example.messages[:-1], "max_tokens": 40, "expect": {"holds": value}}


def own_name(talker: Talker) -> Prompt:
    """A question for the name that the person has just told."""
    while True:
        talker.begin()
        talker.system(0)
        talker.before_question = []
        before = len(talker.example.messages)
        talker.attempt(talker.name)
        talker.attempt(talker.ask_name)
        messages = talker.example.messages
        if len(messages) == before + 4:
            name = talker.blanks.facts["name"]
            return {"task": "recall", "messages": messages[:-1], "max_tokens": 40, "expect": {"holds": name}}


def unknown(talker: Talker) -> Prompt:
    """A question about an unknown fact, when others are known."""
    while True:
        example = filled(talker, talker.rng.choice((1, 2, 3)))
        before = len(example.messages)
        talker.attempt(talker.rng.choice((talker.ask_unknown, talker.unknowable)))
        if len(example.messages) > before:
            return {"task": "unknown", "messages": example.messages[:-1], "max_tokens": 40, "expect": {}}


def dialogue(talker: Talker) -> Prompt:
    """Five turns of the user, written before any reply: statements, feelings, questions, a general question."""
    talker.begin()
    talker.system(talker.rng.choice((0, 2, 3)))
    talker.before_question = []
    system = list(talker.example.messages) or [persona(talker)]
    moves = [talker.greet, talker.name, talker.tell, talker.tell, talker.tell, talker.feel, talker.use_known]
    moves += [talker.ask_known, talker.ask_known, talker.unknowable, talker.ask_general, talker.know_me]
    while len(user_turns := [each for each in talker.example.messages if each["role"] == "user"]) < TURNS:
        talker.attempt(talker.rng.choice(moves))
    turns = [each["content"] for each in user_turns[:TURNS]]
    first = {"role": "user", "content": turns[0]}
    return {"task": "dialogue", "messages": [*system, first], "turns": turns[1:], "max_tokens": 64, "expect": {}}


def tasks(corpus: Corpus, counts: Mapping[str, int] = COUNTS) -> Iterator[Prompt]:
    """Yield prompts of the service's own small tasks."""
    for kind in ("route", "call", "fields", "memories", "summary", "title"):
        for _ in range(counts[kind]):
            example = corpus.writers[kind]()
            first = next(index for index, each in enumerate(example.messages) if each["role"] == "assistant")
            last = len(example.messages) - 1 if kind in ("summary", "title") else first
            yield {
                "task": kind,
                "messages": example.messages[:last],
                "tools": example.tools,
                "max_tokens": MAX_TOKENS[kind],
                "expect": example.expect,
            }


def unseen_prompts(seed: int) -> list[Prompt]:
    """Prompts of topics and templates that no corpus has, numbered."""
    corpus = Corpus(f"{seed}-evaluation", "unseen")
    talker, counts = corpus.talker, UNSEEN_COUNTS
    asked = [*questions(talker)]
    prompts = [each for each in asked if each["task"] == "easy"]
    under_persona = [each for each in asked if each["task"] == "easy_persona"]
    prompts += talker.rng.sample(under_persona, counts["easy_persona"])
    prompts += islice(replies(Talker(f"{seed}-replies", "unseen", ()), counts["reply"]), counts["reply"])
    prompts += tasks(corpus, counts)
    prompts += [recall(talker) for _ in range(counts["recall"])]
    prompts += [own_name(talker) for _ in range(counts["name"])]
    prompts += [unknown(talker) for _ in range(counts["unknown"])]
    prompts += [dialogue(talker) for _ in range(counts["dialogue"])]
    seen: Counter[str] = Counter()
    first: list[Prompt] = []
    rest: list[Prompt] = []
    for number, each in enumerate(prompts):
        task: str = each["task"]
        seen[task] += 1
        (first if seen[task] <= UNSEEN_FIRST.get(task, 0) else rest).append({"id": number} | each)
    return [*first, *rest]


def all_prompts(seed: int) -> list[Prompt]:
    """All prompts, numbered."""
    corpus = Corpus(f"{seed}-evaluation", "held_out")
    talker = corpus.talker
    prompts = [*questions(talker), *replies(talker, COUNTS["talk"]), *tasks(corpus)]
    prompts += [recall(talker) for _ in range(COUNTS["recall"])]
    prompts += [unknown(talker) for _ in range(COUNTS["unknown"])]
    prompts += [dialogue(talker) for _ in range(COUNTS["dialogue"])]
    return [{"id": number} | each for number, each in enumerate(prompts)]
